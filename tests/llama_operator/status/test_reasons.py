"""Whatever reason is given anywhere is one that the documentation lists."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import llama_operator
from llama_operator.plan.observed import PreflightResult
from llama_operator.plan.survey import RefusalReason
from llama_operator.status.reason import Reason

SOURCE = Path(llama_operator.__file__).parent


def given(call: ast.Call) -> Iterator[ast.expr]:
    """What a call gives as a condition's reason: by its name, or as a failed check does."""
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    if name != "Event":
        yield from (word.value for word in call.keywords if word.arg == "reason")
    if name == "failed":
        yield call.args[1]


def texts(reason: ast.expr) -> Iterator[str]:
    """The plain texts that an expression can be."""
    match reason:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=body, orelse=other):
            yield from (*texts(body), *texts(other))
        case _:
            return


def test_a_reason_in_plain_text_is_one_of_the_list() -> None:
    """Preflight is beside the status and cannot name its list; a reason that is not in it would fail every look."""
    trees = [ast.parse(path.read_text()) for path in SOURCE.rglob("*.py")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    found = {text for call in calls for reason in given(call) for text in texts(reason)}
    assert found >= {"ChecksOff", "Checking", "SecretNotFound", "HubUnreachable"}
    assert found | {PreflightResult().reason} | set(get_args(RefusalReason)) <= set(Reason)


def test_conditions_are_made_in_one_place() -> None:
    """Where the reason's type is the list."""
    makers = [
        path.name for path in SOURCE.rglob("*.py") if "Condition(" in path.read_text().replace("class Condition(", "")
    ]
    assert makers == ["conditions.py"]
