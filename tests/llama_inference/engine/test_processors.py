"""What of the processors may be counted on: how many threads, and how they wait."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from llama_inference.engine.processors import Processors, found, waiting

SLEEP = {"OMP_WAIT_POLICY": "PASSIVE"}


def write(folder: Path, files: dict[str, str]) -> Path:
    """A control group of these files."""
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text + "\n")
    return folder


@pytest.mark.parametrize(
    ("files", "threads"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "250000 100000"}, 3),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "3200000 100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
    ],
)
def test_no_more_threads_than_the_container_may_run(tmp_path: Path, files: dict[str, str], threads: int) -> None:
    """By the quota of either version of cgroups, rounded up, and never more than CPUs."""
    assert found(write(tmp_path, files), affinity=range(8)).threads == threads


@pytest.mark.parametrize(
    ("files", "request_m"),
    [
        ({}, None),
        ({"cpu.weight": "20"}, 124),  # the newer way; 500 by the older
        ({"cpu.weight": "59"}, 509),  # the newer way; 1486 by the older
        ({"cpu.weight": "100"}, 1000),
        ({"cpu.weight": "1"}, 2),  # no request at all
        ({"cpu/cpu.shares": "512"}, 500),
        ({"cpu/cpu.shares": "2"}, 2),
        ({"cpu/cpu.shares": "1024", "cpu/release_agent": ""}, None),  # of the whole machine
        ({"cpu.weight": "twenty"}, None),
    ],
)
def test_the_weight_tells_the_request(tmp_path: Path, files: dict[str, str], request_m: int | None) -> None:
    """In either version of cgroups; by the lesser reading where there are two, unknown where nobody says."""
    request = found(write(tmp_path, files), affinity=range(8)).request
    assert (None if request is None else round(1000 * request)) == request_m


@pytest.mark.parametrize(
    ("processors", "shared"),
    [
        (Processors(8), False),  # nobody says that there are neighbours
        (Processors(8, request=0.5), True),
        (Processors(8, request=8.0), False),
        (Processors(8, request=20.0), False),
        (Processors(8, quota=2.0, request=2.0), False),
        (Processors(8, quota=2.0, request=1.0), True),
        (Processors(8, quota=1.5), True),  # two threads, and the one that spins uses up what both have
        (Processors(8, quota=0.5), True),
        (Processors(1, request=0.5), True),
    ],
)
def test_threads_sleep_while_they_wait_where_processors_are_shared(processors: Processors, *, shared: bool) -> None:
    """Where less may be counted on than there are threads: spinning would use up what the others need."""
    assert waiting(processors, {}) == (SLEEP if shared else {})


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"])
def test_what_was_chosen_by_hand_is_kept(name: str) -> None:
    """In the pod's own environment."""
    assert waiting(Processors(8, request=0.5), {name: "anything"}) == {}


def test_a_small_request_takes_no_threads_away() -> None:
    """What neighbours leave over is worth having."""
    assert Processors(8, request=0.5).threads == 8


@pytest.mark.slow
def test_the_server_decides_before_torch_is_loaded() -> None:
    """Which reads it once: nothing that the command line imports brings torch along."""
    script = "import sys, llama_inference.cli, json; print(json.dumps('torch' in sys.modules))"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(shown.stdout) is False
