"""What the server would refuse at its start is refused with the spec, by the server's own tables."""

import json
from collections.abc import Callable
from typing import Any, Final

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_inference.cli import serve
from llama_inference.errors import ConfigurationError
from llama_inference.golden import prompts
from llama_inference.protocol import kinds
from llama_inference.protocol.limits import Limits
from llama_inference.protocol.parameters import PARAMETERS, REFUSED
from llama_inference.values import BackendName
from llama_operator.errors import SpecError
from llama_operator.spec import parameters
from llama_operator.spec.parse import parse
from tests.support.operator_objects import REPO, a_body

NAMES: Final = sorted({*PARAMETERS, *REFUSED, "temprature", "x" * 300})
EDGES: Final[tuple[Any, ...]] = (
    None, True, False, "", "never", "dynamic", "lefthash", "a" * 256, "a" * 257,
    -101, -1, 0, 1, 2, 16, 17, 64, 65, 4096, 4097, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 10**400,
    -0.5, 0.0, 1e-9, 0.5, 1.0, 1.5, 100.5, 1e3, 1e6, 86400.0, 1e7, float("inf"),
    [], ["a"], ["a", ""], ["a"] * 17, ["a" * 200, "b" * 100], [1], [1.0], [-1], [True], [1] * 1024, [1] * 1025,
    [[]], [[1]], [[1]] * 257, [[1] * 600, [1] * 600], [[1], 1], [1, 1.5], [1, 0], [1, 2, 3],
    [[[1], 1.0]], [[[1], 1e7]], [[[], 1]], [[[1] * 1025, 1.0]], [[[1], 1.0, 2]],
    {}, {"bias": 2.0}, {"bias": 1e4}, {"greenlist_ratio": 0.5, "x": 1}, {"seeding_scheme": "lefthash"},
)  # fmt: skip
"""On both sides of every bound and of every kind."""
BACKENDS: Final[tuple[BackendName, ...]] = ("native", "transformers", "vllm", "tgi", "mock")
ATOMS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=300))
VALUES = st.recursive(ATOMS, lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=3))


def refuses(judge: Callable[[], object]) -> bool:
    """Whether the server refuses."""
    try:
        judge()
    except ConfigurationError:
        return True
    return False


def differ(name: str, value: Any, backend: BackendName = "native") -> bool:
    """Whether operator and server are of two minds about a default."""
    server = refuses(lambda: Limits.parse({name: value}, {}, backend=backend))
    return (parameters.fault(name, value, backend) is not None) is not server


@pytest.mark.parametrize("backend", ["native", "vllm", "tgi"])
def test_a_default_is_refused_if_and_only_if_the_server_would(backend: BackendName) -> None:
    """Every parameter, with values on both sides of every bound and of every kind."""
    assert [(name, value) for name in PARAMETERS for value in EDGES if differ(name, value, backend)] == []


def test_a_name_that_is_none_is_refused_by_both() -> None:
    """And those that the server knows and does not take."""
    assert not any(differ(name, 1) for name in (*REFUSED, "temprature", "x" * 300))


def test_a_maximum_is_refused_if_and_only_if_the_server_would() -> None:
    """Of numeric parameters alone, and never above the contract's."""
    for name in (*PARAMETERS, "temprature"):
        numeric = name in PARAMETERS and PARAMETERS[name].kind.maximum is not None
        for value in EDGES if numeric else (1,):
            server = refuses(lambda name=name, value=value: Limits.parse({}, {name: value}))
            assert (parameters.maximum_fault(name, value) is not None) is server, (name, value)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(NAMES), value=VALUES)
def test_the_two_are_of_one_mind_about_anything(backend: BackendName, name: str, value: Any) -> None:
    """Whatever JSON can hold."""
    assert not differ(name, value, backend)


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_every_parameter_has_a_value_that_both_take(name: str) -> None:
    """A table that refused everything would be of one mind with a server that did."""
    candidates = (1, 0.5, True, "never", "dynamic", ["a"], [1], [[1]], [[[1], 1.0]], [1, 1.5], {"bias": 1.0})
    assert any(
        parameters.fault(name, value, "native") is None and not refuses(lambda v=value: Limits.parse({name: v}, {}))
        for value in candidates
    )


@pytest.mark.parametrize(
    "args",
    [
        (), ("--playground",), ("--port", "8080"), ("--port=8080",), ("--backend", "mock"), ("--host", "::"),
        ("--prot", "8080"), ("--port", "99999"), ("--port", "http"), ("--port",), ("--backend", "vlm"),
        ("--playground=yes",), ("serve",), ("-p", "8080"),
    ],
)  # fmt: skip
def test_an_argument_is_refused_if_and_only_if_the_server_would(args: tuple[str, ...]) -> None:
    """By what click makes of the command line, before anything is started."""
    with CliRunner().isolation():
        try:
            serve.make_context("serve", list(args))
            server = False
        except Exception:  # noqa: BLE001  (each of click's errors is a refusal)
            server = True
    assert bool(list(parameters.arguments_faults(args))) is server


def refused(**spec: Any) -> tuple[str, str]:
    """The field that a spec is refused for, and the whole sentence."""
    with pytest.raises(SpecError) as caught:
        parse(a_body(**spec))
    return caught.value.field, str(caught.value)


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        (
            {"generation": {"defaults": {"temprature": 0.5}}},
            "spec.generation.defaults.temprature",
            "there is no parameter temprature; did you mean temperature?",
        ),
        (
            {"generation": {"defaults": {"min_p": 2}}},
            "spec.generation.defaults.min_p",
            "min_p must be a number at least 0 and at most 1; it is 2",
        ),
        (
            {"generation": {"defaults": {"penalty_alpha": 0.6}}},
            "spec.generation.defaults.penalty_alpha",
            "penalty_alpha is not accepted: transformers has moved this strategy into code on the Hub",
        ),
        (
            {"generation": {"defaults": {"min_p": 0.5}}, "engine": {"name": "tgi"}},
            "spec.generation.defaults.min_p",
            "spec.engine.name tgi cannot honour it; native and transformers and vllm can",
        ),
        (
            {"generation": {"maximums": {"stop_strings": 3}}},
            "spec.generation.maximums.stop_strings",
            "there is no numeric parameter of this name",
        ),
        (
            {"generation": {"defaults": {"min_length": 9}, "maximums": {"min_length": 5}}},
            "spec.generation.defaults.min_length",
            "it is 9, above spec.generation.maximums.min_length: 5",
        ),
        ({"engine": {"args": ["--prot", "8080"]}}, "spec.engine.args[0]", "did you mean --port?"),
        (
            {"rollout": {"goldenPrompts": [{"prompt": "a", "expect": {"matches": "("}}]}},
            "spec.rollout.goldenPrompts[0].expect.matches",
            "it is no regular expression of Python's",
        ),
        (
            {"rollout": {"goldenPrompts": [{"prompt": "a", "parameters": {"top": 1}, "expect": {"equals": "b"}}]}},
            "spec.rollout.goldenPrompts[0].parameters.top",
            "there is no parameter top; did you mean top_",
        ),
        (
            {
                "rollout": {
                    "goldenPrompts": [{"prompt": "a", "parameters": {"stream": True}, "expect": {"equals": "b"}}]
                }
            },
            "spec.rollout.goldenPrompts[0].parameters.stream",
            "stream is not accepted: a golden prompt is answered whole",
        ),
    ],
)
def test_what_the_server_would_refuse_names_the_field_that_was_written(
    spec: dict[str, Any], field: str, words: str
) -> None:
    """Before there is a pod that claims a GPU and crashes; with the nearest name where there is none of that name."""
    found, said = refused(model={"repo": REPO}, **spec)
    assert found == field
    assert said.startswith(f"{field}: ")
    assert words in said


def test_a_golden_prompt_that_is_let_through_is_one_that_the_server_takes() -> None:
    """And the server refuses what is refused here."""
    good = {"prompt": "a", "parameters": {"max_new_tokens": 4}, "expect": {"matches": "^b"}}
    parse(a_body(rollout={"goldenPrompts": [good]}))
    prompts.parse([good])
    for bad in ({"expect": {"matches": "("}}, {"parameters": {"top": 1}}, {"parameters": {"stream": True}}):
        with pytest.raises(SpecError):
            parse(a_body(rollout={"goldenPrompts": [{**good, **bad}]}))
        with pytest.raises(ConfigurationError):
            prompts.parse([{**good, **bad}])


def test_a_server_of_another_image_may_know_more() -> None:
    """Its names and arguments are left to it; the values of those that are known hold as ever."""
    own = {"image": "registry.example/other:1", "args": ["--other"]}
    parse(a_body(engine=own, generation={"defaults": {"mirostat": 2}, "maximums": {"mirostat": 2}}))
    assert refused(engine=own, generation={"defaults": {"min_p": 2}})[0] == "spec.generation.defaults.min_p"


def test_a_rule_that_nobody_here_knows_is_not_taken_for_kept() -> None:
    """A keyword that the server's tables get is followed here, or told by this test."""
    for row in PARAMETERS.values():
        for value in (1, 0.5, "a", [1], [[1]], [[[1], 1.0]], {"bias": 1.0}, None, True):
            parameters.holds(json.loads(json.dumps(row.kind.schema)), value)
    with pytest.raises(KeyError):
        parameters.holds({**kinds.boolean().schema, "x-odd": True}, value=True)
