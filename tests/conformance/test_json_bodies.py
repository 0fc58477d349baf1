"""Whatever comes as a body, the answer is the contract's: a result, or an error that says what to correct; never a 5xx.

Arbitrary JSON, arbitrary values under the names that count, arbitrary bytes, and the classics by hand.
"""

import json
from collections import Counter
from typing import Any, Final

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from llama_inference.protocol.openai.fields import FIELDS, Endpoint
from llama_inference.protocol.parameters import GENERATION, PARAMETERS, REFUSED, Parameter
from tests.conformance.conftest import NAME
from tests.conformance.described import described
from tests.conformance.left import measure, nothing_stays
from tests.llama_inference.harness import Served
from tests.llama_inference.process import Process

pytestmark = pytest.mark.slow

PATHS: Final = ("/predict", "/v1/completions", "/v1/chat/completions")
NAMES: Final = sorted({"prompt", "messages", "model", *PARAMETERS, *REFUSED, *FIELDS})
ROWS: Final[dict[str, dict[str, Parameter]]] = {
    "/predict": dict(PARAMETERS),
    "/v1/completions": {**GENERATION, **FIELDS[Endpoint.COMPLETION]},
    "/v1/chat/completions": {**GENERATION, **FIELDS[Endpoint.CHAT]},
}
TEXT: Final = st.text(max_size=20) | st.sampled_from(["\ud83e", "a\udd99b"])  # halves of pairs: JSON can carry them
NUMBERS: Final = st.one_of(
    st.integers(), st.floats(), st.sampled_from([0, -1, 2**31, 2**63, 10**400, 1e308, float("inf"), float("nan")])
)
LEAVES: Final = st.one_of(st.none(), st.booleans(), NUMBERS, TEXT)
VALUES: Final = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=8
)
START: Final[dict[str, dict[str, Any]]] = {
    "/predict": {"prompt": "x", "max_new_tokens": 4},
    "/v1/completions": {"model": "tiny", "prompt": "x", "max_tokens": 4},
    "/v1/chat/completions": {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "max_tokens": 4},
}
FUZZ: Final = settings(
    max_examples=150, deadline=None, database=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
OF_AN_ENGINE: Final = settings(FUZZ, max_examples=60, phases=[Phase.generate])
BOUNDS: Final = ("max_new_tokens", "max_length", "max_tokens", "max_completion_tokens", "echo")
BY_HAND: Final = {
    "nothing": b"",
    "no object": b"[]",
    "cut off": b'{"prompt": "x',
    "NaN": b'{"prompt": "x", "temperature": NaN}',
    "Infinity": b'{"prompt": "x", "max_time": -Infinity}',
    "an endless number": b'{"prompt": "x", "seed": ' + b"9" * 50_000 + b"}",
    "a number beyond floats": b'{"prompt": "x", "temperature": 1e999}',
    "deep lists": b'{"prompt": ' + b"[" * 45_000 + b"]" * 45_000 + b"}",
    "deep objects": b'{"a":' * 15_000 + b"1" + b"}" * 15_000,
    "bad UTF-8": b'{"prompt": "\xff\xfe"}',
    "overlong UTF-8": b'{"prompt": "\xc0\xaf"}',
    "UTF-16": '{"prompt": "x"}'.encode("utf-16-be")[:-1],
    "half of a pair as text": rb'{"prompt": "\ud83e"}',
    "half of a pair as a name": rb'{"prompt": "x", "\ud83e": 1}',
    "half of a pair as a value": rb'{"prompt": "x", "early_stopping": "\udd99"}',
    "half of a pair as the model": rb'{"prompt": "x", "model": "\ud83e"}',
    "NUL in a name": rb'{"prompt": "x", "\u0000": 1}',
    "a name of a megabyte": b'{"prompt": "x", "' + b"n" * 90_000 + b'": 1}',
}


def ask(served: Served | Process, path: str, content: bytes, content_type: str = "application/json") -> httpx2.Response:
    """Send bytes; check that the answer keeps the contract."""
    answer = served.client.post(path, content=content, headers={"content-type": content_type})
    assert answer.status_code < 500, answer.text
    if answer.status_code == 200:
        return answer
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    error = body["error"]
    if path == "/predict":
        assert (body["status"], body["data"], set(error)) == ("error", None, {"code", "param"})
        assert body["message"]
    else:
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
    assert len(answer.content) < 2000  # it names what is wrong, and does not repeat all of it
    return answer


@pytest.mark.parametrize("path", PATHS)
@FUZZ
@given(body=VALUES)
def test_any_json_is_answered(served: Served, path: str, body: Any) -> None:
    """As the whole body."""
    ask(served, path, json.dumps(body).encode())


@pytest.mark.parametrize("path", PATHS)
@FUZZ
@given(given=st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1, max_size=3))
def test_any_value_of_any_parameter_is_answered(served: Served, path: str, given: dict[str, Any]) -> None:
    """Beside what makes the request complete otherwise."""
    ask(served, path, json.dumps({**START[path], **given}).encode())


def computed(path: str) -> st.SearchStrategy[dict[str, Any]]:
    """A few parameters of generation, each with a value that it may have."""
    rows = {name: row.kind.schema for name, row in ROWS[path].items() if name not in ("model", *BOUNDS)}
    one = st.sampled_from(sorted(rows)).flatmap(lambda name: described(rows[name]).map(lambda value: (name, value)))
    return st.lists(one, min_size=1, max_size=3).map(dict)


@pytest.mark.parametrize("path", PATHS)
def test_an_engine_survives_any_values_together(native: Process, path: str) -> None:
    """Such that it has to compute with most of them; and nothing stays of any."""
    fresh, statuses = measure(native), Counter[int]()

    @OF_AN_ENGINE
    @given(given=computed(path))
    def run(given: dict[str, Any]) -> None:
        body = {**START[path], **given, **({} if path == "/predict" else {"model": NAME})}
        statuses[ask(native, path, json.dumps(body).encode()).status_code] += 1

    run()
    assert statuses[200] > sum(statuses.values()) / 3
    nothing_stays(native, fresh)


@pytest.mark.parametrize("path", PATHS)
@FUZZ
@given(content=st.binary(max_size=60))
def test_any_bytes_are_answered(served: Served, path: str, content: bytes) -> None:
    """Few of them are JSON."""
    ask(served, path, content)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("content", BY_HAND.values(), ids=BY_HAND)
def test_the_classics_are_refused(served: Served, path: str, content: bytes) -> None:
    """Each is the caller's fault."""
    assert ask(served, path, content).status_code in (400, 404)


@pytest.mark.parametrize("path", PATHS)
def test_of_a_name_given_twice_the_last_counts(served: Served, path: str) -> None:
    """As in most readers of JSON: what was checked is what runs."""
    whole = json.dumps(START[path])[:-1]
    assert ask(served, path, f'{whole}, "temperature": "hot", "temperature": 1}}'.encode()).status_code == 200
    assert ask(served, path, f'{whole}, "temperature": 1, "temperature": "hot"}}'.encode()).status_code == 400


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "é", ""]
)
def test_another_content_type_is_refused(served: Served, path: str, content_type: str) -> None:
    """A browser's form cannot post here from elsewhere."""
    answer = served.client.post(path, content=b'{"prompt": "x"}', headers=[(b"content-type", content_type.encode())])
    assert answer.status_code == 415
