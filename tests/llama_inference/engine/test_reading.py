"""Bytes of the weights in memory, as the start-up report tells them: read by transformers, and by ranks."""

from pathlib import Path
from typing import Any

import pytest
from transformers.utils import logging

from llama_inference.engine.native.checkpoint import Checkpoint
from llama_inference.engine.parallel.member import load_part
from llama_inference.engine.parallel.topology import Topology
from llama_inference.engine.progress import Progress, Stage
from llama_inference.engine.reading import Reading, counted
from llama_inference.engine.weights import load
from llama_inference.errors import LoadError
from tests.support.tiny_llama import build

pytestmark = pytest.mark.slow


class Told(Progress):
    """A report that remembers how far the load was each time."""

    def __init__(self) -> None:
        super().__init__("a/b", "main")
        self.steps: list[int] = []
        self.begin(Stage.LOAD)

    def received(self, count: int, stage: Stage = Stage.DOWNLOAD) -> None:
        """Bytes have come."""
        super().received(count, stage)
        self.steps.append(self.row["bytes_done"])

    @property
    def row(self) -> dict[str, Any]:
        """The load's row."""
        return next(row for row in self.report()["stages"] if row["name"] == "Load")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny Llama."""
    return build(tmp_path)


def test_what_transformers_reads_is_told_parameter_by_parameter(folder: Path) -> None:
    """From nothing to all of it, by the sizes in the files."""
    told, total = Told(), sum(Checkpoint(folder).sizes().values())
    load(folder, "float32", told)
    assert told.row["bytes_total"] == told.row["bytes_done"] == total
    assert 0 < total <= (folder / "model.safetensors").stat().st_size
    assert len({step for step in told.steps if 0 < step < total}) > 10, "a layer has nine parameters"


def test_what_a_rank_reads_is_told_part_by_part(folder: Path) -> None:
    """Of its share of the bytes, and never more."""
    told, total = Told(), sum(Checkpoint(folder).sizes().values()) // 2
    load_part(folder, "float32", Topology(per_node=2), 0, told)
    assert told.row["bytes_total"] == told.row["bytes_done"] == total
    assert max(told.steps) == total
    assert len({step for step in told.steps if 0 < step < total}) > 10


def test_parameters_that_the_files_name_otherwise_count_alike(folder: Path) -> None:
    """Transformers renames some, and makes others of several."""
    told, named = Told(), Checkpoint(folder).sizes()
    known, size = next(iter(named.items()))
    share = (sum(named.values()) - size) // 2
    with counted(folder, told):
        for _ in logging.tqdm({known: 1, "renamed": 2, "merged": 3}.items(), desc="Loading weights"):
            pass
    assert told.steps[:3] == [size, size + share, size + 2 * share]


def test_after_a_load_that_failed_the_bars_are_transformers_own_again(folder: Path) -> None:
    """And what was not read is not told."""
    told = Told()
    with pytest.raises(MemoryError), counted(folder, told):
        raise MemoryError
    assert logging.set_tqdm_hook(None) is None
    assert told.row["bytes_done"] == 0


def test_weights_that_say_no_sizes_are_left_to_transformers(folder: Path) -> None:
    """It tells what is wrong with them."""
    (folder / "model.safetensors").write_bytes(b"nothing")
    told = Told()
    with pytest.raises(LoadError):
        load(folder, "float32", told)
    assert "bytes_total" not in told.row


def test_no_more_is_told_than_was_announced() -> None:
    """A rank's share is about that: a time left below nothing would help nobody."""
    told = Told()
    reading = Reading(told, 10)
    reading.add(8)
    reading.add(8)
    reading.complete()
    assert told.steps == [8, 10, 10]


def test_where_nothing_is_reported_nothing_is_told() -> None:
    """As in the process of another rank."""
    Reading(None, 10).add(5)
