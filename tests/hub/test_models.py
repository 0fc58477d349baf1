"""The folder of models: made once, whole or not at all; and what is in it."""

import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from tests.support import models
from tests.support.hub import HubServer
from tests.support.hub.config import apply, discover


def test_the_second_call_finds_the_folder(tmp_path: Path) -> None:
    """Nothing is built again."""
    folder = tmp_path / "models" / "key"
    assert models.ensure(folder, lambda into: (into / "a").touch()) == folder
    assert models.ensure(folder, lambda into: pytest.fail("built again")) == folder
    assert (folder / "a").exists()


def test_a_failed_build_leaves_no_folder(tmp_path: Path) -> None:
    """The next one starts from an empty folder."""

    def fails(into: Path) -> None:
        (into / "half").touch()
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        models.ensure(tmp_path / "key", fails)
    assert not (tmp_path / "key").exists()
    models.ensure(tmp_path / "key", lambda into: (into / "whole").touch())
    assert [path.name for path in (tmp_path / "key").iterdir()] == ["whole"]


def test_of_several_at_once_one_builds(tmp_path: Path) -> None:
    """The others wait, and then find all of it."""
    start, builds = threading.Barrier(4), list[Path]()

    def build(into: Path) -> None:
        builds.append(into)
        (into / "a").touch()

    def ask() -> bool:
        start.wait()
        return (models.ensure(tmp_path / "key", build) / "a").exists()

    with ThreadPoolExecutor(4) as pool:
        assert all(job.result() for job in [pool.submit(ask) for _ in range(4)])
    assert len(builds) == 1


def test_every_user_may_read_it(tmp_path: Path) -> None:
    """A pod runs as a user of its own; safetensors are written for their owner alone."""

    def build(into: Path) -> None:
        (into / "owner").mkdir(mode=0o700)
        (into / "owner" / "weights").touch(mode=0o600)

    folder = models.ensure(tmp_path / "key", build)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "owner", folder / "owner" / "weights")]
    assert modes == [0o755, 0o755, 0o644]


@pytest.mark.slow
def test_the_models_are_served_and_speak() -> None:
    """The printed folder is what a Hub finds its repositories in; SmolLM2 answers and stops."""
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415 - too slow an import for the others

    command = [sys.executable, "-m", "tests.support.models"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    folder = Path(printed.stdout.strip())
    with HubServer(folder) as hub:
        assert set(apply(hub, discover(folder))) == {f"{models.SMOLLM2}@main", f"{models.TINY}@main"}
        info = HfApi(endpoint=hub.url, token=False).model_info(models.SMOLLM2, files_metadata=True)
    assert {"model.safetensors", "tokenizer.json", "chat_template.jinja"} <= {f.rfilename for f in info.siblings or ()}
    words = AutoTokenizer.from_pretrained(folder / models.SMOLLM2)
    model: Any = AutoModelForCausalLM.from_pretrained(folder / models.SMOLLM2, dtype="float32")
    question = [{"role": "user", "content": "What is the capital of France?"}]
    tokens = words.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**tokens, max_new_tokens=20, do_sample=False)[0][tokens["input_ids"].shape[1] :]
    assert words.decode(answer) == "The capital of France is Paris.<|im_end|>"
