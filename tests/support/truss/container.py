"""The container of a package, near enough: the supervisor as an ordinary user, with the paths that a pod has."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

import yaml

import llama_package
from tests.support.truss.environment import environment, layouts

USER: Final = 65532
HERE: Final = Path(__file__).parent
STARTING_S: Final = 60.0


class Container:
    """One package's container. `run` is the folder that it shares with the server in front."""

    def __init__(
        self,
        package: str = "",
        *,
        layout: Path | None = None,
        secrets: Mapping[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
        development: bool = False,
    ) -> None:
        """Name a package of `packages/`, or give a layout."""
        self.root = Path(tempfile.mkdtemp(prefix="package-"))
        self.run = self.root / "run/package"
        self.secrets = self.root / "secrets"
        for name in ("app", "packages", "secrets", "run/package/bin", "tmp", "layout"):
            (self.root / name).mkdir(parents=True)
        shutil.copytree(layout or layouts() / package, self.root / "layout", dirs_exist_ok=True)
        config = yaml.safe_load((self.root / "layout/app/config.yaml").read_text())
        source = Path(llama_package.__file__).parent
        shutil.copytree(source, self.run / "bin/llama_package", ignore=shutil.ignore_patterns("__pycache__"))
        for name, value in (secrets or {}).items():
            self.give(name, value)
        self._user = USER if os.getuid() == 0 else 0
        if self._user:
            for path in (
                self.root,
                *(self.root / name for name in ("app", "packages", "run/package", "tmp", "layout")),
            ):
                os.chown(path, self._user, self._user)
        self._log = (self.root / "log").open("wb")
        self._variables = {
            "PATH": "/environment/bin:/usr/local/bin:/usr/bin:/bin",
            "HOME": "/tmp",
            "APP_HOME": "/app",
            "PYTHON_EXECUTABLE": "/environment/bin/python",
            "LLAMA_PACKAGE_LAYOUT": "/layout",
            "LLAMA_PACKAGE_DIGEST": "first",
            "LLAMA_PACKAGE_DEVELOPMENT": str(development).lower(),
            "LLAMA_PACKAGE_FIRST_WAIT": "0.5",
            "LLAMA_PACKAGE_HEALTH_EVERY": "0.1",
            **config["environment_variables"],
            **(variables or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def give(self, name: str, value: str) -> None:
        """Mount a secret; a kubelet does so at once as well."""
        fresh = self.root / "tmp" / name
        fresh.write_text(value)
        fresh.replace(self.secrets / name)

    def __enter__(self) -> Self:
        namespace = ["unshare", "--mount", *([] if self._user else ["--map-root-user"])]
        inside = [str(self.root), str(environment()), str(self._user)]
        supervisor = ["/environment/bin/python", "/run/package/bin/llama_package"]
        self.process = subprocess.Popen(
            [*namespace, sys.executable, str(HERE / "enter.py"), *inside, *supervisor],
            env=self._variables,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(STARTING_S)
        self._log.close()
        # Its mounts have gone with it.
        shutil.rmtree(self.root, ignore_errors=True)

    @property
    def servers(self) -> list[int]:
        """The processes that the supervisor has started."""
        assert self.process is not None
        ps = ["ps", "-o", "pid=", "--ppid", str(self.process.pid)]
        found = subprocess.run(ps, stdout=subprocess.PIPE, check=False)
        return [int(pid) for pid in found.stdout.split()]

    def kill(self) -> None:
        """End it as a kubelet ends a container that takes too long: all of its processes at once."""
        assert self.process is not None
        for pid in (self.process.pid, *self.servers):
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    @property
    def log(self) -> str:
        """All that supervisor and server have written."""
        return (self.root / "log").read_text(errors="replace")

    @property
    def report(self) -> dict[str, Any]:
        """The supervisor's report; empty before the first."""
        path = self.run / "report.json"
        return json.loads(path.read_text()) if path.exists() else {}
