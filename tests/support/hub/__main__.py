"""`python -m hub`: serve the Hub from a folder until the process is told to end."""

import argparse
import json
import signal
from pathlib import Path
from types import FrameType
from typing import NoReturn

from .config import apply, discover
from .server import HubServer


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def main() -> None:
    """Parse, start, wait."""
    parser = argparse.ArgumentParser(prog="hub", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8080, help="0 for any free one; the URL is printed")
    parser.add_argument("--models", type=Path, default=Path(), help="folder that relative paths start from")
    parser.add_argument(
        "--config", type=Path, help="JSON of repos and tokens; without it, every OWNER/NAME in --models"
    )
    options = parser.parse_args()
    hub = HubServer(options.models, host=options.host, port=options.port)
    commits = apply(hub, json.loads(options.config.read_text()) if options.config else discover(options.models))
    # As process 1 of a container it has no default action for these signals.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    with hub:
        for name, commit in commits.items():
            print(f"{hub.url}/{name.replace('@', '/tree/')} at {commit}", flush=True)
        print(f"serving on {hub.url}", flush=True)
        hub.wait()


if __name__ == "__main__":
    main()
