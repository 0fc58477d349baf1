"""Call a predict server over HTTP, as an application does; a stream can be left in the middle."""

import http.client
import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (lower-case names) and body of an answer."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Server:
    """One predict server, at host and port."""

    def __init__(self, host: str, port: int = 80) -> None:
        self._address = host, port

    def url(self, path: str) -> str:
        """The address of a path."""
        host, port = self._address
        return f"http://{host}:{port}{path}"

    def predict(self, body: Mapping[str, Any] | bytes, **headers: str) -> Answer:
        """POST /predict with a JSON body, or with these very bytes."""
        with self._post(body, headers) as response:
            return Answer(response.status, _lower(response), json.loads(response.read()))

    def get(self, path: str) -> tuple[int, str]:
        """GET a page; its status and its text."""
        connection = http.client.HTTPConnection(*self._address, timeout=30)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels; 0 where there is none."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        samples = (sample for family in families for sample in family.samples if sample.name == name)
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    @contextmanager
    def stream(self, body: Mapping[str, Any]) -> Generator[Generator[dict[str, Any]]]:
        """Yield the events of a stream; leaving the block hangs up."""
        with self._post({**body, "stream": True}, {}) as response:
            assert response.status == 200, response.read()
            yield _events(response)

    @contextmanager
    def _post(self, body: Mapping[str, Any] | bytes, headers: Mapping[str, str]) -> Generator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection(*self._address, timeout=120)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request("POST", "/predict", data, {"Content-Type": "application/json", **headers})
            yield connection.getresponse()
        finally:
            connection.close()


def _events(response: http.client.HTTPResponse) -> Generator[dict[str, Any]]:
    for line in response:
        if line.startswith(b"data: ") and line.strip() != b"data: [DONE]":
            yield json.loads(line.removeprefix(b"data: "))


def _lower(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}
