"""`kubectl llama` against a real API server: what it takes, what it refuses, and what the user may not do."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubectl_llama.main import run
from tests.integration.accounts import add_account
from tests.support.cluster import LLAMA, Namespace, kubeconfig
from tests.support.kubectl import environment

pytestmark = pytest.mark.cluster
PUSH = ("push", "--model", "org/tiny", "--no-wait")
Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(space: Namespace, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs the command in a namespace of the test's own."""

    def invoke(*args: str) -> tuple[int, str, str]:
        code = run([*args, "-n", space.name, "--kubeconfig", str(kubeconfig())])
        seen = capsys.readouterr()
        return code, seen.out, seen.err

    return invoke


def spec_of(space: Namespace) -> dict[str, Any]:
    """The spec that is stored."""
    return space.there(LLAMA, "tiny")["spec"]


def test_a_push_is_a_server_side_apply(cli: Cli, space: Namespace) -> None:
    """What is left out of the next push is taken back; what scale has set stays until a push says otherwise."""
    assert cli(*PUSH, "--set", "engine.maxQueuedRequests=7")[0] == 0
    assert spec_of(space)["engine"]["maxQueuedRequests"] == 7
    assert cli("scale", "tiny", "--replicas", "3")[0] == 0
    assert cli(*PUSH)[0] == 0
    assert spec_of(space)["engine"]["maxQueuedRequests"] != 7
    assert spec_of(space)["replicas"] == 3
    assert cli(*PUSH, "--set", "replicas=2")[0] == 0
    assert spec_of(space)["replicas"] == 2


def test_fields_of_others_are_a_conflict(cli: Cli, space: Namespace) -> None:
    """Exit code 1 and the flag that takes them over."""
    assert cli(*PUSH)[0] == 0
    space.patch(LLAMA, "tiny", {"spec": {"replicas": 5}}, "--field-manager=somebody")
    code, _, err = cli(*PUSH, "--set", "replicas=2")
    assert code == 1
    assert "somebody" in err
    assert "--force-conflicts" in err
    assert spec_of(space)["replicas"] == 5
    assert cli(*PUSH, "--set", "replicas=2", "--force-conflicts")[0] == 0
    assert spec_of(space)["replicas"] == 2


def test_a_dry_run_and_a_difference_store_nothing(cli: Cli, space: Namespace) -> None:
    """The API server fills in its defaults, and that is all."""
    code, out, _ = cli(*PUSH, "--dry-run", "server", "-o", "json")
    assert code == 0
    assert json.loads(out)["spec"]["resources"]["gpu"]["product"] == "A100"
    assert "+    repo: org/tiny" in cli(*PUSH, "--diff")[1]
    assert space.get(LLAMA, "tiny") is None


def test_who_may_not_ends_with_7(cli: Cli, space: Namespace) -> None:
    """With the API server's own words."""
    add_account(space, "nobody")
    code, out, err = cli("list", "--as", f"system:serviceaccount:{space.name}:nobody", "-o", "json")
    assert code == 7
    assert json.loads(out)["error"]["code"] == "Forbidden"
    assert "llamadeployments" in err


def test_what_is_not_there_ends_with_3(cli: Cli) -> None:
    """Of every verb that takes a name."""
    for verb in (("status",), ("logs",), ("diagnose",), ("delete",), ("scale", "--replicas", "1"), ("rollback",)):
        assert cli(*verb, "nothing")[0] == 3, verb


def test_names_are_completed_from_the_cluster(cli: Cli, space: Namespace) -> None:
    """As kubectl's own completion asks for them."""
    assert cli(*PUSH)[0] == 0
    command = [Path(sys.executable).with_name("kubectl_complete-llama"), "status", "-n", space.name, "t"]
    env = {**os.environ, **environment(), "KUBECONFIG": str(kubeconfig())}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["tiny", ":4"]
