"""The server's own description is valid OpenAPI, and says what the server does."""

from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate

from llama_inference.protocol.openapi import EXAMPLES, request_schema
from llama_inference.protocol.parameters import HELD_TO, PARAMETERS
from tests.llama_inference.harness import Served


@pytest.fixture(scope="module")
def document(served: Served) -> dict[str, Any]:
    """What /openapi.json serves."""
    return served.client.get("/openapi.json").json()


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    """By the specification's own schema."""
    validate(document)


def test_the_document_lists_every_status_that_predict_answers(document: dict[str, Any]) -> None:
    """With the error body for each."""
    predict = document["paths"]["/predict"]["post"]
    assert set(predict["responses"]) == {"200", "400", "401", "403", "404", "408", "413", "415", "429", "503", "504"}
    assert set(predict["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    failure = predict["responses"]["429"]["content"]["application/json"]["schema"]["$ref"]
    assert set(document["components"]["schemas"][failure.rpartition("/")[2]]["properties"]) == {
        "status", "data", "message", "error",
    }  # fmt: skip
    assert [row["name"] for row in predict["parameters"]] == ["X-Request-Timeout"]


def test_the_schema_has_every_parameter_with_its_default() -> None:
    """It comes from the table that checks requests."""
    properties = request_schema()["properties"]
    assert set(properties) == {"prompt", "messages", *PARAMETERS, *HELD_TO}
    assert properties["num_beams"]["default"] == 4
    assert all(row["description"] for row in properties.values())


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_are_valid_and_work(served: Served, name: str) -> None:
    """Each is accepted by the schema, and by the server."""
    body = EXAMPLES[name]["value"]
    jsonschema.validate(body, request_schema())
    assert served.predict(body).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"prompt": ""},
        {"prompt": "x", "num_beams": 17},
        {"prompt": "x", "colour": 1},
        {"prompt": "x", "messages": []},
    ],
)
def test_the_schema_refuses_what_the_server_refuses(served: Served, body: dict[str, Any]) -> None:
    """Both say no."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(body, request_schema())
    assert served.predict(body).status_code == 400
