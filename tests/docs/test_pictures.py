"""The terminal pictures are those of the runs that are kept, and the command still speaks as it did in them."""

import json

from kubectl_llama.main import VERBS
from tools import pictures
from tools.generate import ROOT

RUNS = json.loads(pictures.RUNS.read_text())


def test_each_picture_is_drawn_from_its_run() -> None:
    """None was edited, and none is left over."""
    drawn = pictures.pictures(RUNS)
    assert set(drawn) == {file.name for file in pictures.IMAGES.glob("kubectl-llama-*.svg")}
    assert [name for name, picture in drawn.items() if (pictures.IMAGES / name).read_text() != picture] == []


def test_push_status_plan_and_diagnose_are_pictured_and_shown() -> None:
    """Each where a reader looks first."""
    page = (ROOT / "docs" / "kubectl-llama.md").read_text()
    assert {"push", "status", "plan", "diagnose"} <= set(RUNS) <= set(VERBS)
    assert [verb for verb in RUNS if f"images/kubectl-llama-{verb}.svg" not in page] == []


def test_pictures_fetch_nothing() -> None:
    """Whoever looks at one is not seen by anybody else."""
    for picture in pictures.pictures(RUNS).values():
        assert "@font-face" not in picture
        assert "url(http" not in picture
