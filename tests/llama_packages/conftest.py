"""What makes environments, for real: the locked truss and uv, in an environment of their own."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Builder:
    """The programs of the builder's image."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its Python, which has truss."""
        return self.folder / "bin" / "python"

    @property
    def uv(self) -> Path:
        """Its uv."""
        return self.folder / "bin" / "uv"

    def lay_out(self, package: Path, work: Path) -> None:
        """Run the first half of the environment Job."""
        command = [self.python, "-W", "ignore", "-m", "llama_packages.builder.lay_out", package, work, self.uv]
        env = {"PATH": "/usr/bin:/bin", "HOME": str(work.parent), "PYTHONPATH": str(REPOSITORY / "packages")}
        subprocess.run(command, check=True, env=env, timeout=120)


@pytest.fixture(scope="session")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """An environment of packages/builder.lock."""
    uv = shutil.which("uv") or str(Path("~/.cache/llama-operator/uv/bin/uv").expanduser())
    folder = tmp_path_factory.mktemp("builder") / "venv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    install = [uv, "pip", "install", "--quiet", "--require-hashes", "--python", folder / "bin" / "python"]
    subprocess.run([*install, "--requirements", REPOSITORY / "packages" / "builder.lock"], check=True)
    return Builder(folder)
