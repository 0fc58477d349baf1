"""The command line: what it prints, and how it fails."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp.test_utils import unused_port
from click.testing import CliRunner, Result

from llama_operator.cli import main
from llama_operator.spec.crd import crd
from tests.support.operator_objects import a_body


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's own logging stays."""
    monkeypatch.setattr("llama_operator.handlers.logs.configure", _leave)


def _leave(level: str, style: str) -> None:
    """Configure nothing."""


def run(*args: str, stdin: str = "", **env: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, args, input=stdin, env=env)


def render(*bodies: Any, **env: str) -> Result:
    """Render manifests from standard input."""
    return run("render", "-", stdin=yaml.safe_dump_all(bodies), **env)


def test_crd_prints_the_definition() -> None:
    """As YAML that kubectl can apply."""
    done = run("crd")
    assert done.exit_code == 0
    assert yaml.safe_load(done.output) == crd()


def test_render_shows_the_objects_without_a_cluster() -> None:
    """In the order in which they are applied, without what only a cluster can give."""
    done = render(a_body())
    objects = list(yaml.safe_load_all(done.output))
    assert [obj["kind"] for obj in objects] == ["ServiceAccount", "PersistentVolumeClaim", "Service", "Deployment"]
    assert {obj["metadata"]["namespace"] for obj in objects} == {"models"}
    assert "uid" not in done.output
    assert "llama-operator.dev/applied" not in done.output


def test_render_takes_several_and_the_operators_settings() -> None:
    """A manifest may hold several documents, empty ones too; without a namespace it is default."""
    one, two = a_body(), a_body(engine={"image": "mine:1"})
    two["metadata"] = {"name": "two"}
    done = render(one, None, two, LLAMA_OPERATOR_INFERENCE_IMAGE="standard:9")
    deployments = [obj for obj in yaml.safe_load_all(done.output) if obj["kind"] == "Deployment"]
    images = [obj["spec"]["template"]["spec"]["containers"][0]["image"] for obj in deployments]
    assert images == ["standard:9", "mine:1"]
    assert [obj["metadata"]["namespace"] for obj in deployments] == ["models", "default"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (a_body(model={"repo": "a b"}), "llama: spec.model.repo: it is 'a b'; write the repository as on the Hub"),
        (a_body(replicas="many"), "llama: spec.replicas:"),
        ({**a_body(), "metadata": {}}, "holds a LlamaDeployment without metadata.name"),
        ({**a_body(), "metadata": ["llama"]}, "holds a LlamaDeployment without metadata.name"),
        ({**a_body(), "kind": "Pod"}, "holds something other than a LlamaDeployment of llama-operator.dev/v1alpha1"),
        (["a"], "holds something other than a LlamaDeployment"),
        ("text", "holds something other than a LlamaDeployment"),
    ],
)
def test_render_says_what_cannot_be_used(body: Any, words: str) -> None:
    """Exit code 2, one line, no traceback."""
    done = render(body)
    assert done.exit_code == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_render_says_what_is_no_yaml() -> None:
    """With the place."""
    done = run("render", "-", stdin="a: [b")
    assert done.exit_code == 2
    assert "<stdin> is not YAML" in done.stderr
    assert "line 2, column 1" in done.stderr or "line 1" in done.stderr


def test_a_manifest_that_is_not_there_is_a_usage_error() -> None:
    """As click has it."""
    done = run("render", "/nowhere.yaml")
    assert done.exit_code == 2
    assert "/nowhere.yaml" in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("WORKERS", "0", "Input should be greater than 0"),
        ("WORKERS", "many", "valid integer"),
        ("HEALTH_PORT", "70000", "less than or equal to 65535"),
        ("LEASE_DURATION_SECONDS", "1", "greater than or equal to 3"),
        ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("WATCH_NAMESPACES", "team-a", 'write a JSON list, such as ["team-a", "team-b"]'),
        ("WATCH_NAMESPACES", '{"a": 1}', "write a JSON list"),
        ("WATCH_NAMESPACES", '["team-*"]', "match pattern"),
    ],
)
@pytest.mark.parametrize("verb", [("run",), ("render", "-")])
def test_a_setting_that_does_not_hold_is_named(verb: tuple[str, ...], name: str, value: str, words: str) -> None:
    """By the variable that has to change."""
    done = run(*verb, **{f"LLAMA_OPERATOR_{name}": value})
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: LLAMA_OPERATOR_{name}: ")
    assert "Value error" not in done.stderr
    assert words in done.stderr


def test_running_without_a_way_to_a_cluster_fails_with_what_to_set(tmp_path: Path) -> None:
    """Exit code 1: the process is to be started again."""
    port = str(unused_port())
    done = run("run", KUBECONFIG=str(tmp_path / "none"), LLAMA_OPERATOR_HEALTH_PORT=port)
    assert done.exit_code == 1
    assert "set KUBECONFIG, or run in a pod" in done.stderr


def test_namespaces_are_a_json_list() -> None:
    """As the chart writes them."""
    done = render(a_body(), LLAMA_OPERATOR_WATCH_NAMESPACES=json.dumps(["team-a", "team-b"]))
    assert done.exit_code == 0


def test_a_gateway_without_its_settings_says_which() -> None:
    """The operator writes them; whoever starts one by hand has to."""
    done = run("gateway")
    assert done.exit_code == 2
    assert "LLAMA_GATEWAY_LEASE: Field required" in done.stderr


def test_a_gateway_without_a_way_to_a_cluster_fails_with_what_to_set(tmp_path: Path) -> None:
    """Exit code 1: to be started again."""
    given = {"NAMESPACE": "a", "LEASE": "b", "NAME": "c", "UPSTREAM": "http://d", "IDLE_SECONDS": "60"}
    more = {"HOLD_SECONDS": "1", "MAX_HELD_REQUESTS": "1", "AT_ONCE": "1"}
    settings = {f"LLAMA_GATEWAY_{name}": value for name, value in {**given, **more}.items()}
    done = run("gateway", KUBECONFIG=str(tmp_path / "none"), **settings)
    assert (done.exit_code, "set KUBECONFIG" in done.stderr) == (1, True)
