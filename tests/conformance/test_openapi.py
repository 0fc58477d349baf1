"""The server against its own OpenAPI description: what it describes is what it takes and what it answers.

Requests are made from the description by schemathesis: such that keep to it, and such that break it.
"""

import copy
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.conformance.conftest import NAME
from tests.conformance.left import measure, nothing_stays
from tests.llama_inference.process import MOCK, MODULE, Process

pytestmark = pytest.mark.slow

OPERATIONS: Final = {
    "POST /predict", "POST /v1/chat/completions", "POST /v1/completions", "GET /v1/models", "GET /v1/models/{name}",
    "POST /tokenize", "POST /detokenize", "GET /healthz", "GET /readyz", "GET /health",
    "GET /startupz", "GET /metrics", "GET /info",
}  # fmt: skip
WITH_BODY: Final = sorted(name for name in OPERATIONS if name.startswith("POST"))
WITH_INPUT: Final = [*WITH_BODY, "GET /v1/models/{name}"]
CALLED: Final = settings(
    max_examples=25, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)  # fmt: skip
FAILING: Final = '[{"prompt": "x", "expect": {"equals": "y"}}]'
PATIENCE_S: Final = 60
"""An answer of the native engine takes seconds where other tests compute beside it."""


@pytest.fixture(scope="module")
def ready() -> Iterator[Process]:
    """A ready server without a model."""
    variables = {"LLAMA_INFERENCE_SERVED_NAME": NAME, "LLAMA_INFERENCE_MOCK_TOKENS": "4"}
    with Process(*MODULE, **MOCK, **variables) as process:
        yield process.ready()


@pytest.fixture(scope="module")
def unready() -> Iterator[Process]:
    """A server that stays unready, since its golden prompt fails."""
    with Process(*MODULE, **MOCK, LLAMA_INFERENCE_GOLDEN_PROMPTS=FAILING) as process:
        yield process


def operation(process: Process, label: str) -> Any:
    """An operation of the server's own description."""
    import schemathesis  # noqa: PLC0415 - it takes seconds to import, which only slow tests pay

    method, path = label.split()
    return schemathesis.openapi.from_dict(process.client.get("/openapi.json").json())[path][method]


def checks() -> dict[str, Any]:
    """All checks but two: 5xx are described, and a schema cannot say all that makes a request impossible."""
    from schemathesis.checks import not_a_server_error  # noqa: PLC0415
    from schemathesis.specs.openapi.checks import positive_data_acceptance  # noqa: PLC0415

    return {"excluded_checks": [not_a_server_error, positive_data_acceptance]}


def named(case: Any, number: int) -> None:
    """Have all but every fourth call ask for the model that is served: made-up names lead no further than 404."""
    if number % 4 == 0:
        return
    if isinstance(case.body, dict) and "model" in case.body:
        case.body = {**copy.deepcopy(case.body), "model": NAME}
    if "name" in (case.path_parameters or {}):
        case.path_parameters = {"name": NAME}


def call_all(process: Process, label: str, mode: str, how: settings = CALLED) -> set[int]:
    """Call an operation with what schemathesis makes up; return the statuses that were answered."""
    from schemathesis import GenerationMode  # noqa: PLC0415

    seen: list[int] = []

    @how
    @given(case=operation(process, label).as_strategy(generation_mode=GenerationMode(mode)))
    def run(case: Any) -> None:
        named(case, len(seen))
        answer = case.call_and_validate(base_url=process.url, timeout=PATIENCE_S, **checks())
        seen.append(answer.status_code)

    run()
    return set(seen)


def test_every_operation_is_tried_here(ready: Process) -> None:
    """A new route is described, and tried."""
    paths = ready.client.get("/openapi.json").json()["paths"]
    assert {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods} == OPERATIONS


@pytest.mark.parametrize("label", sorted(OPERATIONS))
def test_what_keeps_to_the_description_is_answered_as_described(ready: Process, label: str) -> None:
    """Status, content type, headers and body; something is answered with a success."""
    assert 200 in call_all(ready, label, "positive")
    assert not [row for row in ready.log if row["level"] in ("error", "critical")]


@pytest.mark.parametrize("label", WITH_BODY)
def test_an_engine_answers_as_described(native: Process, label: str) -> None:
    """What computes is no mock, and nothing stays of what it was asked for."""
    fresh = measure(native)
    assert 200 in call_all(native, label, "positive")
    nothing_stays(native, fresh)


@pytest.mark.parametrize("label", WITH_BODY)
def test_what_breaks_the_description_is_refused(ready: Process, label: str) -> None:
    """As described, too."""
    assert call_all(ready, label, "negative") <= {400, 404, 413, 415}
    assert not [row for row in ready.log if row["level"] in ("error", "critical")]


@pytest.mark.parametrize("label", sorted(OPERATIONS))
def test_a_server_that_is_not_ready_answers_as_described(unready: Process, label: str) -> None:
    """Its 503s are in the description."""
    from schemathesis import GenerationMode  # noqa: PLC0415

    strategy = operation(unready, label).as_strategy(generation_mode=GenerationMode.POSITIVE)

    @settings(CALLED, max_examples=3)
    @given(case=strategy)
    def run(case: Any) -> None:
        case.call_and_validate(base_url=unready.url, **checks())

    run()
