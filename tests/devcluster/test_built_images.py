"""The product's images as they run: small in what they hold, and built once."""

import json
from collections.abc import Generator
from typing import Any

import pytest

from tests.support.cluster import Namespace
from tests.support.devcluster import devcluster, run_once

pytestmark = pytest.mark.cluster

# Where a build has what it needs to reach packages, and what it builds with.
TRACES = ("/etc/pip.conf", "/root/.netrc", "/root/.cache", "/wheels", "/src", "/opt/tools", "/etc/apt/sources.list")
LOOK = f"""
import importlib.util, json, os, pathlib, sys
package = pathlib.Path(importlib.util.find_spec(sys.argv[1]).origin).parent
print(json.dumps(dict(
    user=[os.getuid(), os.getgid()],
    pip=importlib.util.find_spec("pip") is not None,
    traces=[path for path in {TRACES!r} if os.path.exists(path)],
    compiled=[path.name for path in package.rglob("cli*.pyc")],
    settings=sorted(name for name in os.environ if name.startswith(("PIP_", "UV_")) or "proxy" in name.lower()),
)))
"""


@pytest.fixture(scope="module")
def built() -> dict[str, str]:
    """The images of the present tree, in the cluster."""
    devcluster("build", "--load")
    return json.loads(devcluster("images"))


@pytest.fixture
def space() -> Generator[Namespace]:
    """A namespace of the test's own."""
    space = Namespace.create()
    yield space
    space.delete()


def test_what_is_built_and_loaded_is_neither_built_nor_loaded_again(built: dict[str, str]) -> None:
    """A second time there is nothing to do."""
    steps = devcluster("build", "--load").splitlines()
    assert {line.split()[0] for line in steps} == {"Debian", "build", "load"}
    assert [line for line in steps if not line.endswith("cached")] == []


@pytest.mark.parametrize(
    ("name", "package", "command"),
    [
        ("operator", "llama_operator", ("llama-operator", "--help")),
        ("inference", "llama_inference", ("llama-inference", "--version")),
    ],
)
def test_an_image_runs_as_nobody_on_a_read_only_root(
    built: dict[str, str], space: Namespace, name: str, package: str, command: tuple[str, ...]
) -> None:
    """It brings its command, compiled, and nothing of how it was built."""
    found: dict[str, Any] = json.loads(run_once(space, "look", built[name], "python", "-c", LOOK, package))
    assert found["user"][0] == 65532
    assert found["pip"] is False
    assert found["traces"] == []
    assert found["settings"] == []
    assert found["compiled"]
    assert name in run_once(space, "run", built[name], *command).lower()
