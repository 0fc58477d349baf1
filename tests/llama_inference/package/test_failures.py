"""A package that does not serve is told with exception, file and line; the container goes on."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.llama_inference.package.pod import Pod
from tests.support.truss.environment import lay_out

pytestmark = pytest.mark.slow

SECRET: Final = "hf_a_value_that_nobody_sees"


def fault(pod: Pod) -> dict[str, Any]:
    """The error of the start-up report, once there is one."""
    pod.waits_for(lambda: pod.startup()["error"], "an error")
    report = pod.startup()
    assert (report["stage"], report["ready"]) == ("Load", False)
    return report["error"]


def package(folder: Path, model: str, **more: str) -> Path:
    """The layout of a package that is written here."""
    (folder / "model").mkdir(parents=True)
    (folder / "config.yaml").write_text("model_name: written\npython_version: py311\n")
    for path, text in {"model/model.py": model, **more}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return lay_out([folder]) / folder.name


@pytest.mark.parametrize(
    ("name", "reason", "words", "again"),
    [
        ("load_fails", "PackageLoadFailed", "RuntimeError: the weights are not there (model/model.py, line 10)", True),
        (
            "import_fails",
            "PackageImportFailed",
            "ModuleNotFoundError: No module named 'a_module_that_nobody_has' (model/model.py, line 3): ",
            False,
        ),
        ("bad_signature", "PackageSignatureInvalid", "request must be second", False),
        ("no_predict", "PackageSignatureInvalid", "`predict` or `websocket` method. (model/model.py, line 4)", False),
    ],
)  # fmt: skip
def test_what_fails_is_told_with_exception_file_and_line(name: str, reason: str, words: str, *, again: bool) -> None:
    """What time may mend is tried again, and only that; nothing ends."""
    with Pod(name) as pod:
        error = fault(pod)
        assert error["reason"] == reason
        assert words in error["message"]
        assert (error["retry_in_seconds"] is not None) == again
        if again:
            pod.waits_for(lambda: pod.startup()["error"]["attempt"] > 1, "another attempt")
        assert pod.container.process is not None
        assert pod.container.process.poll() is None


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {"model/model.py": "class Model:\n    def predict(self, x)\n"},
            "SyntaxError: expected ':' (model/model.py, line 2)",
        ),
        (
            {
                "model/model.py": "import shared\n\nclass Model:\n    def predict(self, x):\n        return x\n",
                "packages/shared/__init__.py": "\n\n1 / 0\n",
            },
            "ZeroDivisionError: division by zero (packages/shared/__init__.py, line 3)",
        ),
        ({"model/model.py": "class Other:\n    pass\n"}, "has no attribute 'Model' (model/model.py, line 1)"),
    ],
    ids=["syntax", "packages", "no class"],
)
def test_a_fault_is_found_where_it_is(files: dict[str, str], words: str, tmp_path: Path) -> None:
    """In the file that cannot be parsed, in packages/ as well, and at the class that is not there."""
    layout = package(tmp_path / "written", "", **files)
    with Pod(container={"layout": layout}) as pod:
        assert words in fault(pod)["message"]


def test_a_secret_that_comes_later_is_enough() -> None:
    """It is missed by name, and the package serves once it is mounted."""
    with Pod("trouble", container={"variables": {"LLAMA_PACKAGE_FIRST_WAIT": "3600"}}) as pod:
        error = fault(pod)
        assert error["reason"] == "PackageSecretMissing"
        assert error["message"].startswith(
            "SecretNotFound: Secret 'a_key' not found (model/model.py, line 21): declare it"
        )
        pod.container.give("a_key", "right")
        pod.ready()
        assert pod.startup()["error"] is None


def test_a_secret_stands_in_no_report() -> None:
    """Though the exception has it in its message."""
    with Pod("trouble", secrets={"a_key": "wrong"}) as pod:
        error = fault(pod)
        assert "the key ***-key is not accepted" in error["message"]
        told = json.dumps(pod.startup()) + json.dumps(pod.container.report)
        assert "wrong" not in told


@pytest.mark.parametrize(
    ("way", "words"),
    [("die", "ended by SIGKILL while the package loaded, most likely for want of memory"), ("crash", "SIGSEGV")],
)
def test_a_process_that_dies_while_loading_is_told_too(way: str, words: str) -> None:
    """With the signal; of a crash below Python also where it happened. It is tried again."""
    with Pod("trouble", secrets={"a_key": "right"}) as pod:
        pod.ready()
        (pod.container.root / "tmp" / way).touch()
        pod.client.post("/predict", json={"op": "end"})
        pod.waits_for(lambda: pod.startup()["error"] and words in pod.startup()["error"]["message"], words)
        error = pod.startup()["error"]
        assert error["reason"] == "PackageLoadFailed"
        if way == "crash":
            assert "(model/model.py, line 29)" in error["message"]
        (pod.container.root / "tmp" / way).unlink()
        pod.ready()


def test_the_truss_server_has_no_port_and_no_rights() -> None:
    """Only its socket, in a folder that both containers share; as an ordinary user."""
    with Pod("basic") as pod:
        pod.ready()
        (pid,) = pod.container.servers
        process = Path("/proc") / str(pid)
        listening = {
            fields[9]
            for table in ("tcp", "tcp6")
            for fields in (line.split() for line in (process / "net" / table).read_text().splitlines()[1:])
            if fields[3] == "0A"
        }
        assert "launcher.py" in (process / "cmdline").read_text()
        held = {link.readlink().name for link in (process / "fd").iterdir()}
        assert not {f"socket:[{inode}]" for inode in listening} & held
        assert (process / "status").read_text().split("Uid:")[1].split()[0] != "0"


def test_golden_prompts_keep_a_package_that_answers_otherwise_from_serving() -> None:
    """Asked as callers ask; one that is answered as expected lets it serve."""
    golden = {"name": "echo", "request": {"op": "string"}, "expect": {"contains": "plain text"}}
    with Pod("basic", golden_prompts=[golden]) as pod:
        pod.ready()
    other = {"name": "echo", "request": {"op": "string"}, "expect": {"equals": "something else"}}
    with Pod("basic", golden_prompts=[other]) as pod:
        pod.waits_for(lambda: pod.startup()["error"], "an error")
        error = pod.startup()["error"]
        assert error["reason"] == "GoldenPromptFailed"
        assert "'something else'" in error["message"]
        assert pod.client.post("/predict", json={"op": "string"}).status_code == 503


def test_what_a_package_writes_beside_itself_leaves_its_layout_alone() -> None:
    """Others start from the same."""
    with Pod("load_fails") as pod:
        fault(pod)
        assert (pod.container.root / "app/tried.txt").exists()
        assert not (pod.container.root / "layout/app/tried.txt").exists()
