"""Where everything lies in the package's container, and how long the supervisor waits; from the environment."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Mapping, TypeVar  # noqa: UP035 - as Python 3.9 evaluates aliases

OWN = "LLAMA_PACKAGE_"  # variables of the supervisor, which the package does not see
CONTROL_PORT = 8091
EXCHANGES = 100  # looks at a folder that is exchanged in one moment
LINE = 8  # characters up to which a line of a secret is no secret by itself
T = TypeVar("T")


@dataclass(frozen=True)
class Surroundings:
    """The supervisor's settings.

    Attributes:
        python: the interpreter of the package's environment.
        layout: a folder with app/ and packages/ as truss's image has them; None where the image itself has them.
        run: shared with the server in front: its socket, the report.
        secrets: a file for each secret.
        digest: what runs first, as the operator names it.
        control_port: of this pod's loopback; only with `development`.
        longest_load: seconds that changed code may take to load where its config.yaml does not say.
    """

    python: str
    layout: Path | None
    app: Path
    packages: Path
    run: Path
    secrets: Path
    digest: str = ""
    development: bool = False
    control_port: int = CONTROL_PORT
    first_wait: float = 10.0
    longest_wait: float = 300.0
    health_every: float = 5.0
    drain_seconds: float = 600.0
    longest_load: float = 1800.0
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Surroundings:
        """Take the settings from variables, and leave the others for the package."""

        def own(name: str, default: str) -> str:
            return environment.get(OWN + name) or default

        layout = own("LAYOUT", "")
        theirs = {name: value for name, value in environment.items() if not name.startswith(OWN)}
        packages = Path(own("PACKAGES", "/packages"))
        return cls(
            python=environment.get("PYTHON_EXECUTABLE") or sys.executable,
            layout=Path(layout) if layout else None,
            app=Path(own("APP", "/app")),
            packages=packages,
            run=Path(own("RUN", "/run/package")),
            secrets=Path(own("SECRETS", "/secrets")),
            digest=own("DIGEST", ""),
            development=own("DEVELOPMENT", "false") == "true",
            control_port=int(own("CONTROL_PORT", str(CONTROL_PORT))),
            first_wait=float(own("FIRST_WAIT", "10")),
            longest_wait=float(own("LONGEST_WAIT", "300")),
            health_every=float(own("HEALTH_EVERY", "5")),
            drain_seconds=float(own("DRAIN_SECONDS", "600")),
            longest_load=float(own("LONGEST_LOAD", "1800")),
            environment={
                "PYTHONUNBUFFERED": "1",
                # Two versions of a file within one second, of equal length, are one to Python's cached bytecode.
                "PYTHONDONTWRITEBYTECODE": "1",
                **theirs,
                OWN + "PACKAGES": str(packages),
            },
        )

    @property
    def socket(self) -> Path:
        """Where the server in front finds the one that serves: a link that is turned."""
        return self.run / "server.sock"

    @property
    def report(self) -> Path:
        """What the server in front reads of the package."""
        return self.run / "report.json"

    def secret_values(self) -> list[str]:
        """The values that stand in /secrets, the longest first: no report may hold one."""
        files = self._secrets(lambda path: path.read_text(errors="replace").strip())
        return sorted((value for _, value in files if len(value) > 3), key=len, reverse=True)

    def secret_forms(self) -> list[str]:
        """The values as a message may have them, the longest first: each whole, on one line, escaped, and its lines."""
        forms: set[str] = set()
        for value in self.secret_values():
            lines = (line.strip() for line in value.splitlines())
            for text in (value, *(line for line in lines if len(line) > LINE)):
                written = (text, repr(text)[1:-1], json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
                forms |= {*written, *(" ".join(form.split()) for form in written)}
        return sorted((form for form in forms if len(form) > 3), key=lambda form: (len(form), form), reverse=True)

    def secrets_seen(self) -> list[tuple[str, tuple[int, int]]]:
        """What tells whether a secret has come or changed."""

        def seen(path: Path) -> tuple[int, int]:
            stat = path.stat()
            return stat.st_mtime_ns, stat.st_size

        return self._secrets(seen)

    def _secrets(self, look: Callable[[Path], T]) -> list[tuple[str, T]]:
        """Look at each file that holds a secret, by name; what begins with two dots is the kubelet's own."""
        for _ in range(EXCHANGES):
            try:
                files = sorted(self.secrets.iterdir()) if self.secrets.is_dir() else []
                own = [path for path in files if not path.name.startswith("..") and path.is_file()]
                return [(path.name, look(path)) for path in own if os.access(path, os.R_OK)]
            except FileNotFoundError:  # noqa: PERF203 - seen while the kubelet exchanges them
                continue
        return []


def from_process() -> Surroundings:
    """The settings of this process."""
    return Surroundings.read(os.environ)
