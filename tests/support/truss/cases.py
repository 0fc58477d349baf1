"""Requests to replay against a server of Truss packages, and what the genuine one was seen to answer.

`observed.json` holds its answers, case by case, taken from truss 0.18.36; `replaying` asks.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

PREDICT: Final = "/v1/models/model:predict"
BINARY: Final = {"Content-Type": "application/octet-stream"}
# msgpack, written out so that nothing needs to be installed: {"op": "echo", "n": 1}, {"op": "rich"}, {"op": "kwargs"},
# and what is none.
PACKED_ECHO: Final = bytes.fromhex("82a26f70a46563686fa16e01")
PACKED_RICH: Final = bytes.fromhex("81a26f70a472696368")
PACKED_KWARGS: Final = bytes.fromhex("81a26f70a66b7761726773")
NOT_PACKED: Final = b"\xc1\xff"
OBSERVED: Final[dict[str, Any]] = json.loads(Path(__file__).with_name("observed.json").read_text())
SECRETS: Final = {"surroundings": {"hf_access_token": "hf_abc\n"}, "llama": {"hf_access_token": "hf_abc"}}


@dataclass(frozen=True)
class Ask:
    """One request: `json` or `body`. Seconds: `hang_up` closes the connection, `wait` comes before sending."""

    json: Any = ...
    body: bytes = b""
    method: str = "POST"
    path: str = PREDICT
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    hang_up: float | None = None
    wait: float = 0.0

    def payload(self) -> bytes:
        """The body."""
        return self.body if self.json is ... else json.dumps(self.json).encode()


@dataclass(frozen=True)
class Case:
    """Asks one after another, or with `at_once` copies of the first in parallel."""

    id: str
    package: str
    about: str
    asks: tuple[Ask, ...] = ()
    at_once: int = 1
    kind: Literal["http", "starting", "websocket"] = "http"
    messages: tuple[str, ...] = ()
    timed: bool = False


def one(id: str, package: str, about: str, ask: Ask, **more: Any) -> Case:  # noqa: A002
    """A case of one request."""
    return Case(id, package, about, (ask,), **more)


def get(path: str) -> Ask:
    """A question by GET."""
    return Ask(method="GET", path=path)


def op(name: str, about: str) -> Case:
    """What the package `basic` does when it is told to."""
    return one(f"basic-{name.replace('_', '-')}", "basic", about, Ask({"op": name}))


CASES: Final = (
    # Routes
    one("route-live", "basic", "GET / is the liveness probe", get("/")),
    one("route-ready", "basic", "readiness, once loaded", get("/v1/models/model")),
    one("route-loaded", "basic", "loaded, without asking is_healthy", get("/v1/models/model/loaded")),
    one("route-ready-any-name", "basic", "the model's name in the path is not looked at", get("/v1/models/whatever")),
    one(
        "route-predict-any-name",
        "basic",
        "nor is it for predict",
        Ask({"op": "echo"}, path="/v1/models/whatever:predict"),
    ),
    one(
        "route-predict-short",
        "basic",
        "/predict is the platform's path, not the server's",
        Ask({"op": "echo"}, path="/predict"),
    ),
    one(
        "route-slash-predict", "basic", "/v1/models/model/predict", Ask({"op": "echo"}, path="/v1/models/model/predict")
    ),
    one(
        "route-predict-binary",
        "basic",
        ":predict_binary is predict",
        Ask({"op": "echo"}, path="/v1/models/model:predict_binary"),
    ),
    one("route-ping", "basic", "SageMaker's readiness", get("/ping")),
    one("route-invocations", "basic", "SageMaker's predict", Ask({"op": "echo"}, path="/invocations")),
    one("route-get-predict", "basic", "wrong method", Ask(method="GET")),
    one("route-schema-none", "basic", "no schema without annotations", get("/v1/models/model/schema")),
    one("route-unknown", "basic", "unknown path", get("/nowhere")),
    one("route-docs", "basic", "no docs page", get("/docs")),
    one("route-metrics", "basic", "GET /metrics redirects to /metrics/", get("/metrics")),
    one(
        "route-chat-absent",
        "basic",
        "a method that the model does not have",
        Ask({"model": "m"}, path="/v1/chat/completions"),
    ),
    # Bodies
    one("body-empty", "basic", "no body", Ask()),
    one("body-bad-json", "basic", "not JSON", Ask(body=b'{"op": ')),
    one("body-not-utf8", "basic", "JSON that is not UTF-8", Ask(body=b'{"op": "echo", "x": "\xff"}')),
    one("body-nan", "basic", "NaN is taken as Python does", Ask(body=b'{"op": "echo", "x": NaN}')),
    one(
        "body-no-content-type",
        "basic",
        "the content type is not looked at",
        Ask({"op": "echo"}, headers={"Content-Type": ""}),
    ),
    one(
        "body-text-content-type",
        "basic",
        "nor is text/plain refused",
        Ask({"op": "echo"}, headers={"Content-Type": "text/plain"}),
    ),
    one("body-list", "basic", "any JSON value may be the input; here the model fails on it", Ask([1, 2])),
    one("body-unicode", "basic", "non-ASCII characters come back escaped", Ask({"op": "echo", "x": "ü"})),
    one("body-missing-key", "basic", "the model looks up a key that is not there: 500, not 400", Ask({})),
    one("binary-echo", "basic", "msgpack in, msgpack out", Ask(body=PACKED_ECHO, headers=BINARY)),
    one("binary-rich", "basic", "datetime, Decimal, UUID and arrays in msgpack", Ask(body=PACKED_RICH, headers=BINARY)),
    one(
        "binary-content-type-parameters",
        "basic",
        "parameters of the content type are ignored",
        Ask(body=PACKED_KWARGS, headers={"Content-Type": "Application/Octet-Stream; v=1"}),
    ),
    one("binary-not-msgpack", "basic", "bytes that are no msgpack", Ask(body=NOT_PACKED, headers=BINARY)),
    one(
        "binary-json-body",
        "basic",
        "JSON under the binary content type: its first byte is a number in msgpack",
        Ask({"op": "echo"}, headers=BINARY),
    ),
    # What predict returns
    op("kwargs", "what __init__ gets; load runs off the main thread"),
    op("string", "a string is JSON"),
    op("number", "a number"),
    op("null", "None"),
    op("list", "a list"),
    op("tuple", "a tuple is a list"),
    op("numpy", "numpy arrays and scalars"),
    op("numpy_bool", "numpy's bool is not JSON"),
    op("nan", "NaN and Infinity as Python writes them"),
    op("set", "what JSON does not know"),
    op("bytes", "bytes are not JSON either"),
    op("pydantic", "a pydantic model"),
    op("date", "dates are not JSON"),
    op("rich", "nor is the rest of it"),
    op("generator", "a generator that predict hands back is streamed"),
    op("iterator", "an iterator that is no generator is not"),
    op("json_response", "a response of the model's own, with status and header"),
    op("error_response", "a response from 300 on gets the error headers"),
    op("text_response", "text"),
    op("sse_response", "server-sent events of the model's own"),
    # What predict raises
    op("value_error", "the message stays in the log"),
    op("http_exception", "HTTPException passes through, its headers do not"),
    op("http_exception_dict", "its detail may be any JSON"),
    op("system_exit", "SystemExit in predict"),
    Case("basic-still-there", "basic", "and whether the server lives on", (Ask({"op": "echo"}, wait=0.5),)),
    # Steps
    one("prepost-steps", "prepost", "sync steps", Ask({"prompt": "hello"})),
    one("prepost-fail", "prepost", "an exception in preprocess", Ask({"prompt": "x", "fail": True})),
    one(
        "prepost-at-once",
        "prepost",
        "preprocess runs beside others, predict one by one",
        Ask({"prompt": "x", "seconds": 0.3}),
        at_once=3,
        timed=True,
    ),
    # Streams
    one("stream-plain", "stream", "a sync generator", Ask({"n": 3})),
    one("stream-bytes", "stream", "bytes", Ask({"n": 2, "bytes": True})),
    one("stream-none", "stream", "nothing yielded", Ask({"n": 0})),
    one(
        "stream-accept-json",
        "stream",
        "Accept: application/json gathers a stream into one JSON string",
        Ask({"n": 3}, headers={"Accept": "application/json"}),
    ),
    one(
        "stream-accept-json-openai",
        "stream",
        "but not for OpenAI's client, by its user agent",
        Ask({"n": 2}, headers={"Accept": "application/json", "User-Agent": "OpenAI/Python 2.0"}),
    ),
    one("stream-accept-any", "stream", "Accept: */*", Ask({"n": 2}, headers={"Accept": "*/*"})),
    one(
        "stream-fails-first",
        "stream",
        "an exception before the first piece: 200 and an empty stream",
        Ask({"n": 3, "fail_at": 0}),
    ),
    one(
        "stream-fails-later",
        "stream",
        "an exception half way: the stream ends as if complete",
        Ask({"n": 3, "fail_at": 2}),
    ),
    one(
        "stream-gathered-fails",
        "stream",
        "an exception while gathering",
        Ask({"n": 3, "fail_at": 2}, headers={"Accept": "application/json"}),
    ),
    one(
        "stream-stalls",
        "stream",
        "longer without a piece than streaming_read_timeout: cut off",
        Ask({"n": 3, "stall_at": 1}),
        timed=True,
    ),
    one(
        "stream-after-stall",
        "stream",
        "the generator that was cut off goes on, and holds its place",
        Ask({"n": 1}),
        timed=True,
    ),
    one(
        "stream-at-once",
        "stream",
        "a stream holds its place in predict_concurrency until it is produced",
        Ask({"n": 3, "pause": 0.2}),
        at_once=2,
        timed=True,
    ),
    one("astream-plain", "astream", "an async generator", Ask({"n": 3})),
    Case(
        "astream-hang-up",
        "astream",
        "a caller that hangs up: the generator runs on to its end",
        (Ask({"n": 20, "pause": 0.1}, hang_up=0.5), Ask({"ask": True}, wait=0.5), Ask({"ask": True}, wait=2.5)),
    ),
    one("stream-and-postprocess", "stream_postprocess", "a generator with postprocess", Ask({})),
    # Types
    one("stream-schema", "stream", "a stream has none without annotations", get("/v1/models/model/schema")),
    # The request
    one(
        "request-only",
        "request_only",
        "the raw request",
        Ask(body=b"not json", path=PREDICT + "?a=1", headers={"X-Mine": "yes"}),
    ),
    # Websocket
    Case("websocket-talk", "websocket", "text both ways", kind="websocket", messages=("hello", "bye")),
    Case("websocket-fails", "websocket", "an exception", kind="websocket", messages=("fail",)),
    one("websocket-predict", "websocket", "predict, which a websocket package does not have", Ask({})),
    Case("websocket-absent", "basic", "a websocket to a package without", kind="websocket", messages=("hello",)),
    # Config
    one("config-keys", "surroundings", "the whole config is handed over, defaults filled in", Ask({"op": "config"})),
    one("config-environment", "surroundings", "environment_variables", Ask({"op": "environment"})),
    one("config-data", "surroundings", "data_dir", Ask({"op": "data"})),
    one(
        "secret-mounted",
        "surroundings",
        "a secret as it is mounted, newline and all",
        Ask({"op": "secret", "name": "hf_access_token"}),
    ),
    one(
        "secret-default",
        "surroundings",
        "the value in config.yaml is the default",
        Ask({"op": "secret", "name": "with_default"}),
    ),
    one("secret-absent", "surroundings", "null and nowhere mounted", Ask({"op": "secret", "name": "absent"})),
    one(
        "secret-undeclared",
        "surroundings",
        "a name that config.yaml does not have",
        Ask({"op": "secret", "name": "other"}),
    ),
    one("secret-get", "surroundings", ".get of a secret that is absent", Ask({"op": "secret_get", "name": "absent"})),
    one("secret-in", "surroundings", "in, and len", Ask({"op": "secret_in", "name": "hf_access_token"})),
    one("secret-list", "surroundings", "they cannot be listed", Ask({"op": "secret_list"})),
    one("names-renamed", "renamed", "names of the package's own; __init__ without **kwargs", Ask("abc")),
    one("imports", "absolute_import", "model.helper, packages/, a file beside model.py", Ask({})),
    # Concurrency
    one(
        "concurrency-two",
        "concurrency",
        "five at once, two of them run: the others wait, none is refused",
        Ask({"seconds": 0.3}),
        at_once=5,
        timed=True,
    ),
    one("concurrency-most", "concurrency", "never more than two", Ask({})),
    # The seed's shape
    one("llama-plain", "llama", "a plain answer", Ask({"prompt": "What is the meaning of life?", "max_new_tokens": 4})),
    one("llama-stream", "llama", "with stream", Ask({"prompt": "x", "stream": True})),
    one("llama-no-prompt", "llama", "without prompt: 500", Ask({"max_new_tokens": 4})),
    # Starting
    Case("starting-slow", "slow_load", "while load runs", kind="starting"),
    Case("starting-fails", "load_fails", "load raises: tried twice, then the process ends", kind="starting"),
    Case("starting-import", "import_fails", "a module is missing", kind="starting"),
    one("imports-relative", "relative_import", "from .helper in model/model.py", Ask({})),
    Case("starting-no-predict", "no_predict", "no predict", kind="starting"),
    Case("starting-signature", "bad_signature", "request first", kind="starting"),
)
