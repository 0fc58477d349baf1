"""Every rule of the predict contract names the tests that show it, and they exist."""

import re
from pathlib import Path
from typing import Final

import pytest

from llama_inference.protocol.parameters import OWN
from llama_inference.routes.work import ERRORS
from tools.generate import ROOT

HERE: Final = Path(__file__).parent
TABLE: Final = (ROOT / "docs" / "predict.md").read_text().partition("## Which test shows it")[2]
ROWS: Final = dict(re.findall(r"^\| (.+?) \| (.+) \|$", TABLE, re.MULTILINE)[2:])


@pytest.mark.parametrize("rule", ROWS)
def test_the_tests_of_a_rule_exist(rule: str) -> None:
    """Under the names that the documentation gives."""
    names = re.findall(r"`([\w/]+\.py)::(\w+)`", ROWS[rule])
    assert names
    for file, name in names:
        assert re.search(rf"^(async )?def {name}\(", (HERE / file).read_text(), re.MULTILINE), f"{file}::{name}"


def test_the_tests_of_what_each_engine_can_exist() -> None:
    """In OpenAI's table of features and engines."""
    table = (ROOT / "docs" / "openai.md").read_text().partition("## What each engine can")[2]
    names = re.findall(r"`([\w/]+\.py)::(\w+)`", table)
    assert names
    for file, name in names:
        assert re.search(rf"^(async )?def {name}\(", (HERE / file).read_text(), re.MULTILINE), f"{file}::{name}"


def test_every_parameter_of_the_contract_has_a_rule() -> None:
    """So has every status that a request may be answered with."""
    rules = " ".join(ROWS)
    assert not [name for name in OWN if f"`{name}`" not in rules]
    assert not [status for status in (*ERRORS, 405) if str(status) not in rules]
