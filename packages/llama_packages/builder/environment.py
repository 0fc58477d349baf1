"""Make the environment of a package on its volume: the second half of the environment Job.

Runs on the package's own Python, 3.9 or newer, with the standard library alone: what it makes is for this very Python.
It answers /startupz as the inference server does, with the one stage Environment. What a person can mend is told and
tried again, never a reason to end.

    environment.py WORK ENVIRONMENT DIGEST [--index-url URL] [--find-links FOLDER] [--system-site-packages]
"""

from __future__ import annotations

import argparse
import fcntl
import http.client
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

PORT = 8080
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 60.0
FETCH_SECONDS = 60.0
PASSED_ON = (
    "PATH",
    "LANG",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "UV_NATIVE_TLS",
    "UV_HTTP_TIMEOUT",
)

_UNREACHABLE = re.compile(
    r"error sending request|dns error|connection refused|timed out|tcp connect|failed to fetch|failed to lookup|"
    r"network is unreachable|status code: 5\d\d|HTTP status server error|certificate",
    re.IGNORECASE,
)
_UNSOLVABLE = re.compile(
    r"no solution found|was not found in the package registry|not found in the provided package locations|"
    r"couldn't parse requirement|has no wheels|no wheels? with a matching|failed to build|unsatisfiable",
    re.IGNORECASE,
)


class Failure(Exception):  # noqa: N818  (what it is for whoever reads it)
    """What stands in the way: one of the operator's reasons, and a sentence."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep the reason beside the sentence."""
        super().__init__(message)
        self.reason = reason


class Report:
    """What /startupz answers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stage: dict[str, object] = {"name": "Environment", "state": "running", "started": _now()}
        self._error: dict[str, object] | None = None
        self._watched: Path | None = None

    def watch(self, folder: Path | None) -> None:
        """Tell how many bytes are below `folder` from now on; None: nothing."""
        self._watched = folder

    def fail(self, failure: Failure, attempt: int, pause: float) -> None:
        """Tell what stands in the way."""
        error: dict[str, object] = {
            "reason": failure.reason,
            "message": str(failure),
            "attempt": attempt,
            "retry_in_seconds": pause,
        }
        with self._lock:
            self._error, self._stage["state"] = error, "failed"

    def try_again(self) -> None:
        """Tell that it is under way; what stood in the way is told until it is known to be gone."""
        with self._lock:
            self._stage["state"] = "running"

    def answer(self) -> bytes:
        """Return it as JSON."""
        with self._lock:
            stage = dict(self._stage)
            if self._watched is not None:
                stage["bytes_done"] = _size(self._watched)
            return json.dumps(
                {"stage": "Environment", "ready": False, "stages": [stage], "error": self._error}
            ).encode()


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _size(folder: Path) -> int:
    total = 0
    for root, _folders, names in os.walk(str(folder)):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size  # noqa: PTH118  (a walk's own parts)
            except OSError:
                continue
    return total


def serve(report: Report, port: int = PORT) -> http.server.ThreadingHTTPServer:
    """Answer the operator and the kubelet from now on; return the server."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = {"/startupz": (503, report.answer), "/healthz": (200, lambda: b'{"live": true}')}
            status, answer = known.get(self.path, (503 if self.path == "/readyz" else 404, lambda: b"{}"))
            content = answer()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the library's name)
            """Say nothing of each question."""

    server = http.server.ThreadingHTTPServer(("", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Maker:
    """Makes one environment and lays one package out on it; each step is done once, whoever did it."""

    def __init__(self, options: argparse.Namespace, report: Report) -> None:
        self._options, self._report = options, report
        self._work, self._volume = Path(options.work), Path(options.environment)
        self._plan = json.loads((self._work / "plan.json").read_text())

    def make(self) -> None:
        """Do what is not done yet; raises Failure."""
        if "error" in self._plan:
            raise Failure("PackageInvalid", self._plan["error"])
        with self._alone():
            if not self._is_made():
                self._make_environment()
            self._lay_package()

    @contextmanager
    def _alone(self) -> Generator[None, None, None]:
        """Wait until no other Job writes on the volume: several packages may share it."""
        with (self._volume / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _is_made(self) -> bool:
        return (self._volume / "ready").is_file()

    def _make_environment(self) -> None:
        venv, cache, lock = self._volume / "venv", self._volume / ".cache", self._volume / "requirements.lock"
        self._report.watch(self._volume)
        self._lock_requirements(lock)
        shutil.rmtree(venv, ignore_errors=True)
        extra = ["--system-site-packages"] if self._options.system_site_packages else []
        self._uv("venv", "--quiet", "--python", sys.executable, *extra, str(venv))
        self._uv(
            "pip",
            "install",
            "--quiet",
            "--require-hashes",
            "--no-deps",
            "--compile-bytecode",
            "--python",
            str(venv / "bin" / "python"),
            "--requirements",
            str(lock),
            *self._index(),
        )
        shutil.rmtree(cache, ignore_errors=True)
        _write(self._volume / "ready", {"python": sys.version.split()[0], "made": _now()})

    def _lock_requirements(self, lock: Path) -> None:
        """Write what is to be installed, each with its version and hashes."""
        context = self._work / "context"
        files = [str(context / name) for name in self._plan["requirements"]]
        self._uv(
            "pip",
            "compile",
            "--quiet",
            "--generate-hashes",
            "--no-annotate",
            "--no-header",
            "--no-strip-extras",
            "--python",
            sys.executable,
            "--constraints",
            str(context / "constraints.txt"),
            "--output-file",
            str(lock),
            *self._index(),
            *files,
        )

    def _index(self) -> list[str]:
        options = self._options
        found = ["--index-strategy", "unsafe-best-match"]
        if options.find_links:
            found += ["--find-links", options.find_links]
        if options.index_url:
            found += ["--default-index", options.index_url]
        elif options.find_links:
            found += ["--no-index"]
        return found

    def _uv(self, *arguments: str) -> None:
        # Only what it needs: a variable of the pod must not become an option of uv.
        env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        env.update(
            HOME="/tmp",  # noqa: S108  (the pod's own)
            UV_NO_CONFIG="1",
            UV_PYTHON_DOWNLOADS="never",
            UV_NO_PROGRESS="1",
            UV_CACHE_DIR=str(self._volume / ".cache"),
        )
        done = subprocess.run(
            [str(self._work / "bin" / "uv"), *arguments],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd="/tmp",  # noqa: S108
        )
        if done.returncode:
            print(done.stdout, file=sys.stderr, flush=True)
            raise failure(done.stdout, self._options)

    def _lay_package(self) -> None:
        place = self._volume / "packages" / self._options.digest
        if (place / "ready").is_file():
            return
        self._report.watch(None)
        shutil.rmtree(str(place), ignore_errors=True)
        shutil.copytree(str(self._work / "layout"), str(place))
        for row in self._plan["external_data"]:
            fetch(row["url"], place / "app" / "data" / row["local_data_path"], place / "app" / "data")
        _write(place / "ready", {"digest": self._options.digest})


def fetch(url: str, path: Path, within: Path) -> None:
    """Fetch a file of external_data; raises Failure."""
    if within.resolve() not in path.resolve().parents:
        raise Failure(
            "PackageInvalid",
            f"external_data names {path.name}, which is outside the data folder: correct local_data_path",
        )
    if not url.lower().startswith(("http://", "https://")):
        raise Failure("PackageInvalid", "external_data has a url that is neither http nor https: correct it")
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = address_of(url)
    try:
        with urllib.request.urlopen(url, timeout=FETCH_SECONDS) as answer, path.open("wb") as file:  # noqa: S310
            shutil.copyfileobj(answer, file, 1024 * 1024)
    except (OSError, ValueError, http.client.HTTPException) as error:
        # Words of http.client repeat what they do not take, such as credentials before the host.
        why = getattr(error, "reason", None) if isinstance(error, urllib.error.URLError) else None
        raise Failure(
            "EnvironmentFailed",
            "external_data cannot be fetched from {} ({}): correct its url, or let the pods reach it".format(
                shown, why or type(error).__name__
            ),
        ) from None


def address_of(url: str) -> str:
    """Return what may be shown of a URL: neither credentials nor a query, which may have a signature."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return "a url that is none"
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"


def failure(output: str, options: argparse.Namespace) -> Failure:
    """Return what uv's last words mean."""
    words = " ".join(output.split())
    short = words if len(words) <= 600 else words[:600] + "…"
    if "No space left" in words:
        return Failure("EnvironmentFailed", f"the volume is full ({short[-200:]}): raise spec.cache.size")
    if _UNSOLVABLE.search(words):
        return Failure(
            "RequirementsUnsolvable",
            "the requirements cannot be met for Python {}.{} ({}): correct "
            "requirements in config.yaml, or spec.package.python".format(*sys.version_info[:2], short),
        )
    if _UNREACHABLE.search(words):
        where = options.index_url or "the public index"
        return Failure(
            "IndexUnreachable",
            f"{where} does not answer ({short}): let the pods reach it, or name a mirror in spec.package.indexUrl",
        )
    return Failure("EnvironmentFailed", f"uv cannot make the environment ({short})")


def _write(path: Path, content: dict[str, str]) -> None:
    """Write a file as a whole or not at all."""
    aside = path.with_name(path.name + ".new")
    aside.write_text(json.dumps(content))
    aside.replace(path)


def make(maker: Maker, report: Report, pause: Callable[[float], object] = time.sleep) -> None:
    """Make it, however often it takes."""
    attempt, seconds = 1, PAUSE_SECONDS
    while True:
        try:
            maker.make()
        except Failure as error:
            found = error
        except OSError as error:
            found = Failure("EnvironmentFailed", f"the volume cannot be written ({error.strerror or error})")
        else:
            return
        print(f"{found.reason}: {found}", file=sys.stderr, flush=True)
        report.fail(found, attempt, seconds)
        pause(seconds)
        attempt, seconds = attempt + 1, min(seconds * 2, LONGEST_PAUSE_SECONDS)
        report.try_again()


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("work")
    parser.add_argument("environment")
    parser.add_argument("digest")
    parser.add_argument("--index-url")
    parser.add_argument("--find-links")
    parser.add_argument("--system-site-packages", action="store_true")
    return parser.parse_args(arguments)


def main() -> None:
    """Make the environment, and tell how far it is until then."""
    options = parse(sys.argv[1:])
    os.umask(0o022)
    report = Report()
    serve(report)
    make(Maker(options, report), report)


if __name__ == "__main__":
    main()
