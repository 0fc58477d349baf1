"""What of a config.yaml is served, ignored, refused: each named by its field, with what to do."""

from typing import Any

import pytest

from llama_packages.check import check, environment_of, python_of, secrets_of


def refused(config: dict[str, Any]) -> dict[str, str]:
    """Return what is said of each refused field."""
    return {row.field: row.words for row in check(config).refused}


def ignored(config: dict[str, Any]) -> dict[str, str]:
    """Return what is said of each ignored field."""
    return {row.field: row.words for row in check(config).ignored}


def test_a_plain_package_has_nothing_to_say() -> None:
    """The source's own kind of package is served as written."""
    config = {
        "model_name": "Llama 2 70B",
        "python_version": "py311",
        "requirements": ["torch==2.0.1"],
        "resources": {"accelerator": "A100:2", "cpu": "3", "memory": "14Gi", "use_gpu": True},
        "secrets": {"hf_access_token": None},
        "runtime": {"predict_concurrency": 8},
    }
    found = check(config)
    assert found.refused == ()
    assert [row.field for row in found.ignored] == ["resources.use_gpu"]


@pytest.mark.parametrize(
    ("config", "field", "words"),
    [
        ({"system_packages": ["ffmpeg"]}, "system_packages", "spec.package.image"),
        ({"docker_server": {"server_port": 8000}}, "docker_server", "model.py"),
        ({"weights": [{"source": "hf://a/b"}]}, "weights", "spec.podTemplate"),
        ({"trt_llm": {"build": {"base_model": "decoder"}}}, "trt_llm", "spec.model.repo"),
        ({"bis_llm": {"config": {}, "version": "1"}}, "bis_llm", "Baseten's own"),
        ({"runtime": {"transport": {"kind": "grpc"}}}, "runtime.transport.kind", "http or websocket"),
        ({"runtime": {"num_workers": 3}}, "runtime.num_workers", "spec.replicas"),
        ({"runtime": {"predict_concurrency": 0}}, "runtime.predict_concurrency", "1 or more"),
        ({"python_version": "py38"}, "python_version", "py39"),
        ({"resources": {"accelerator": "A1000"}}, "resources.accelerator", "A100"),
        ({"resources": {"node_count": 2}}, "resources.node_count", "one node"),
        ({"environment_variables": {"PORT": "1"}}, "environment_variables.PORT", "another name"),
        ({"environment_variables": {"LLAMA_X": "1"}}, "environment_variables.LLAMA_X", "another name"),
        ({"base_image": {"docker_auth": {"auth_method": "AWS_IAM"}}}, "base_image.docker_auth", "docker-registry"),
        ({"requirements": "torch"}, "requirements", "is no list"),
        ({"requirements": ["git+https://host/a.git"]}, "requirements", "spec.package.image"),
        ({"requirements": ["a @ git+ssh://git@host/a@main"]}, "requirements", "spec.package.image"),
        ({"base_image": "python:3.11"}, "base_image", "is no object"),
        ({"base_image": {"image": 3}}, "base_image.image", "in quotes"),
        ({"base_image": {"python_executable_path": ["x"]}}, "base_image.python_executable_path", "in quotes"),
    ],
)
def test_what_cannot_be_served_is_refused_by_its_name(config: dict[str, Any], field: str, words: str) -> None:
    """The field and the fix are named."""
    assert words in refused(config)[field]


def test_an_unknown_field_is_refused_with_the_nearest_known() -> None:
    """A typing error is no field that is silently left aside."""
    assert refused({"requirments": ["x"]}) == {"requirments": "is no field of config.yaml: did you mean requirements?"}


def test_an_unknown_field_below_another_is_refused() -> None:
    """Depth makes no difference."""
    assert (
        "runtime.predict_concurrency" in refused({"runtime": {"predict_concurency": 2}})["runtime.predict_concurency"]
    )


def test_a_field_in_the_wrong_place_is_told_its_own() -> None:
    """predict_concurrency belongs below runtime."""
    assert "runtime.predict_concurrency" in refused({"predict_concurrency": 2})["predict_concurrency"]


def test_what_is_left_aside_is_named() -> None:
    """instance_type says what to write instead."""
    assert "accelerator" in ignored({"resources": {"instance_type": "A100:2x24"}})["resources.instance_type"]


def test_defaults_that_truss_fills_in_are_no_finding() -> None:
    """A config.yaml that truss has written whole says as little as one that leaves fields out."""
    config = {
        "weights": [],
        "bdn": {"access": [], "hotload": {"enabled": False}, "mounts": []},
        "build": {"arguments": {}, "model_server": "TrussServer", "no_cache": False, "secret_to_path_mapping": {}},
        "runtime": {"oidc": {"enabled": None}, "remote_ssh": {"enabled": False}, "transport": {"kind": "http"}},
        "spec_version": "2.0",
        "live_reload": False,
        "training_checkpoints": None,
    }
    found = check(config)
    assert (found.ignored, found.refused) == ((), ())


@pytest.mark.parametrize(
    ("written", "found"), [("py311", "3.11"), ("py39", "3.9"), ("3.12", "3.12"), (None, "3.13"), ("py314", "3.14")]
)
def test_the_python_is_read_as_truss_writes_it(written: str | None, found: str) -> None:
    """Without one it is truss's default."""
    assert python_of({"python_version": written} if written else {}) == found


def test_names_of_secrets_are_read_and_nothing_else_of_them() -> None:
    """A value in config.yaml is never handed on."""
    assert secrets_of({"secrets": {"hf_access_token": "hf_real", "other": None}}) == ("hf_access_token", "other")


def test_environment_variables_are_text() -> None:
    """YAML's numbers and booleans are written as a shell would have them."""
    assert environment_of({"environment_variables": {"A": 1, "B": True, "C": None}}) == {"A": "1", "B": "true", "C": ""}


def test_a_requirement_is_named_without_its_credentials() -> None:
    """What is said of it stands in the status."""
    said = refused({"requirements": ["colours", "a @ git+https://user:hidden@host/a.git"]})["requirements"]
    assert "a @ git+https://host/a.git" in said
    assert refused({"requirements": ["gitpython", "a @ https://host/a.whl"]}) == {}
