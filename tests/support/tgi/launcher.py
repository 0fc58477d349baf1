#!/usr/bin/env python3
"""TGI's launcher in a pod, as far as the plan uses it: the stand-in on a port, for the tokenizer of a folder.

It ends the moment it is told to, whatever it is in the middle of. Nothing here needs more than the server's image has.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def _end(_: int, __: object) -> None:
    os._exit(0)


def main() -> None:
    """Serve until a signal."""
    # First of all: the first process of a container has no default for a signal.
    signal.signal(signal.SIGTERM, _end)
    parser = argparse.ArgumentParser()
    parser.add_argument("--model-id", type=Path, required=True)
    parser.add_argument("--hostname", required=True, choices=["127.0.0.1"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--num-shard", type=int, required=True)
    asked = parser.parse_args()

    from server import TgiServer  # noqa: PLC0415  (beside this file in the pod)
    from transformers import AutoTokenizer  # noqa: PLC0415

    tgi = TgiServer(AutoTokenizer.from_pretrained(asked.model_id), port=asked.port)
    tgi.pace = float(os.environ["PACE"])
    with tgi:
        signal.pause()


if __name__ == "__main__":
    main()
