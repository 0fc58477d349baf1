"""Live reload: what a change does in each of its ways, to callers who go on asking, and when it is broken."""

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal

import httpx2
import pytest

from tests.llama_inference.harness import eventually
from tests.llama_inference.package.pod import Pod
from tests.support.ports import free_port
from tests.support.truss.environment import PACKAGES

pytestmark = pytest.mark.slow

Way = Literal["beside", "restart", "hot"]
WAYS: Final = ("beside", "restart", "hot")
MODEL: Final = (PACKAGES / "reload/model/model.py").read_text()


class Watched(Pod):
    """A pod in development, and its door for changes."""

    def __init__(self, *, development: bool = True, **variables: str) -> None:
        self.door = free_port()
        variables["LLAMA_PACKAGE_CONTROL_PORT"] = str(self.door)
        super().__init__("reload", container={"variables": variables, "development": development})

    def control(self, method: str, path: str, content: Any = None) -> Any:
        """Ask the door."""
        answer = httpx2.request(method, f"http://127.0.0.1:{self.door}/control/{path}", json=content, timeout=120)
        assert answer.status_code == 200, answer.text
        return answer.json()

    @property
    def hash(self) -> str:
        """What runs, by its name."""
        return self.control("GET", "truss_hash")["result"]

    def patch(self, to: str, *patches: dict[str, Any], way: str = "beside", previous: str | None = None) -> Any:
        """Change the package."""
        asked = {"hash": to, "prev_hash": self.hash if previous is None else previous, "patches": patches, "way": way}
        return self.control("POST", "patch", asked)

    def ask(self) -> dict[str, Any]:
        """What the model says of itself."""
        answer = self.client.post("/predict", json={})
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    """One pod, changed by test after test."""
    with Watched() as pod:
        pod.ready()
        yield pod


def code(text: str, path: str = "model.py", kind: str = "model_code") -> dict[str, Any]:
    """A patch of a file."""
    return {"type": kind, "body": {"action": "UPDATE", "path": path, "content": text}}


def version(number: int) -> str:
    """The model, saying another number."""
    return MODEL.replace("VERSION = 1", f"VERSION = {number}")


@contextmanager
def asked_throughout(pod: Watched) -> Generator[list[int]]:
    """Statuses of a caller who asks all the time."""
    statuses: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx2.Client(base_url=pod.url, timeout=60) as client:
            while not stop.is_set():
                statuses.append(client.post("/predict", json={}).status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        eventually(lambda: statuses, "an answer", 60)
        yield statuses
    finally:
        stop.set()
        asking.join()


@pytest.mark.parametrize("way", ["beside", "hot"])
def test_a_change_is_served_and_nobody_who_asks_meanwhile_sees_an_error(watched: Watched, way: Way) -> None:
    """beside: another process, loaded anew. hot: the same one, its state kept."""
    before = watched.ask()
    with asked_throughout(watched) as statuses:
        done = watched.patch(f"good-{way}", code(version(20 + WAYS.index(way))), way=way)
        seen = len(statuses)
        eventually(lambda: len(statuses) > seen + 3, "more answers", 60)
    assert set(statuses) == {200}
    assert (done["hash"], done["way"], done["msg"]) == (f"good-{way}", way, "Patch applied successfully")
    after = watched.ask()
    assert after["version"] == 20 + WAYS.index(way)
    assert (after["pid"] == before["pid"]) == (way == "hot")
    assert after["loads"] == 1
    assert (after["calls"] > before["calls"]) or way == "beside"


def test_restart_stops_the_former_process_first(watched: Watched) -> None:
    """For a model that fits only once; callers hear 503 meanwhile, and the new code when it serves."""
    before = watched.ask()
    assert watched.patch("good-restart", code(version(30)), way="restart")["way"] == "restart"
    watched.ready()
    assert watched.ask()["version"] == 30
    assert watched.ask()["pid"] != before["pid"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("broken", "words", "line"),
    [
        ("class Model(\n", "SyntaxError", 1),
        (version(40).replace("self.loads += 1", "self.loads += 1 / 0"), "ZeroDivisionError", 17),
        (version(40).replace("def predict(self, request)", "def predict(self, a, b)"), "ModelDefinitionError", 19),
    ],
    ids=["syntax", "load", "signature"],
)
def test_broken_code_is_answered_with_its_traceback_and_the_last_good_serves_on(
    watched: Watched, way: Way, broken: str, words: str, line: int
) -> None:
    """The hash stays, so that the next change is compared with what runs."""
    before, name = watched.ask(), watched.hash
    answer = watched.patch(f"broken-{way}-{line}", code(broken), way=way)
    if way == "hot" and "1 / 0" in broken:
        assert answer["hash"] == f"broken-{way}-{line}"  # a hot reload runs no load
        return
    error = answer["error"]
    assert error["type"] == "patch_failed_recoverable"
    assert words in error["msg"]
    assert words in error["traceback"]
    assert (error["file"], error["line"]) == ("model/model.py", line)
    assert answer["hash"] == watched.hash == name
    watched.ready()
    assert watched.ask()["version"] == before["version"]
    mended = watched.patch(f"{name}+", code(version(before["version"])), way=way, previous=name)
    assert mended["hash"] == f"{name}+"
    watched.ready()


@pytest.mark.parametrize("way", WAYS)
def test_two_saves_at_once_both_arrive(watched: Watched, way: Way) -> None:
    """Of equal length, within a second: Python's bytecode would take one for the other."""
    for number in (7, 8, 9):
        assert watched.patch(f"{way}-{number}", code(version(number)), way=way)["hash"] == f"{way}-{number}"
        watched.ready()
        assert watched.ask()["version"] == number


@pytest.mark.parametrize("way", WAYS)
def test_helpers_and_packages_change_with_the_model(watched: Watched, way: Way) -> None:
    """Whichever way, though truss's own hot reload evicts the model's folder alone."""
    done = watched.patch(
        f"helpers-{way}",
        code(f'def suffix():\n    return "{way}"\n', "helper.py"),
        code(f'WORD = "{way}"\n', "shared_words/__init__.py", "package"),
        way=way,
    )
    assert done["way"] == way
    watched.ready()
    assert {key: watched.ask()[key] for key in ("suffix", "word")} == {"suffix": way, "word": way}


def test_variables_and_config_take_another_process(watched: Watched) -> None:
    """Also where hot was asked for; and values of secrets in a config are not kept."""
    colour = {"type": "environment_variable", "body": {"action": "UPDATE", "item": {"COLOUR": "blue"}}}
    changed = {"runtime": {"predict_concurrency": 5}, "secrets": {"a_key": "a value that nobody keeps"}}
    config = {"type": "config", "body": {"action": "UPDATE", "path": "config.yaml", "config": changed}}
    assert watched.patch("coloured", colour, config, way="hot")["way"] == "beside"
    assert watched.ask()["colour"] == "blue"
    eventually(lambda: watched.server.package.exchanges.concurrency == 5, "the new bound", 60)
    assert "nobody keeps" not in (watched.container.root / "app/config.yaml").read_text()


@pytest.mark.parametrize(
    ("patch", "kind", "words"),
    [
        (code("x", "../../outside.py"), "patch_failed_recoverable", "leaves the package's folder"),
        ({"type": "system_package", "body": {"action": "ADD", "package": "curl"}}, "unsupported_patch", "push"),
        ({"type": "python_requirement", "body": {"action": "ADD", "requirement": "x"}}, "unsupported_patch", "push"),
        ({"type": "weights", "body": {"action": "ADD"}}, "unsupported_patch", "no type of patch"),
        ({"type": "model_code"}, "inadmissible_patch", "body"),
    ],
    ids=["outside", "system", "requirement", "unknown", "no body"],
)
def test_what_cannot_be_changed_changes_nothing(watched: Watched, patch: dict[str, Any], kind: str, words: str) -> None:
    """Not even what stands before it in the same request."""
    before, name = watched.ask(), watched.hash
    answer = watched.patch("never", code(version(50)), patch)
    assert answer["error"]["type"] == kind
    assert words in answer["error"]["msg"]
    assert watched.hash == name
    assert watched.ask()["version"] == before["version"]
    assert f"VERSION = {before['version']}" in (watched.container.root / "app/model/model.py").read_text()


def test_a_change_for_other_code_is_not_made_and_one_that_is_there_is_done(watched: Watched) -> None:
    """By hash, before and after."""
    name = watched.hash
    error = watched.patch("never", code(version(50)), previous="another")["error"]
    assert error["type"] == "inadmissible_patch"
    assert name in error["msg"]
    assert watched.patch(name, code(version(50)))["way"] == "none"


def test_a_container_that_starts_again_goes_on_with_the_last_good_code() -> None:
    """And with the name of it; without development it starts from its layout."""
    with Watched() as pod:
        pod.ready()
        pod.patch("changed", code(version(60)))
        pod.container.kill()
        pod.container.__enter__()
        pod.waits_for(lambda: pod.client.post("/predict", json={}).status_code == 200, "an answer")
        assert pod.ask()["version"] == 60
        assert pod.hash == "changed"


def test_without_development_there_is_no_door() -> None:
    """Nothing listens."""
    with Watched(development=False) as pod:
        pod.ready()
        with pytest.raises(httpx2.ConnectError):
            pod.control("GET", "truss_hash")


def test_a_hot_change_that_is_refused_leaves_every_method_as_it_was(watched: Watched) -> None:
    """The class is swapped back whole: truss's own keeps the new one, under the old predict."""
    good = (
        MODEL.replace('"version": VERSION', '"version": self.number()') + "\n    def number(self):\n        return 71\n"
    )
    assert watched.patch("with a method", code(good), way="hot")["way"] == "hot"
    bad = good.replace("return 71", "return 72").replace("def predict(self, request)", "def predict(self, a, b)")
    assert watched.patch("refused", code(bad), way="hot")["error"]["exception"] == "ModelDefinitionError"
    assert watched.ask()["version"] == 71


@pytest.mark.parametrize("way", ["beside", "restart"])
def test_a_change_whose_load_never_ends_is_given_up(way: Way) -> None:
    """The last good code serves on, and the next change is made."""
    with Watched(LLAMA_PACKAGE_LONGEST_LOAD="20") as pod:
        pod.ready()
        hangs = version(80).replace("self.loads += 1", "import threading; threading.Event().wait()")
        error = pod.patch("hangs", code(hangs), way=way)["error"]
        assert "runtime.health_checks.startup_threshold_seconds" in error["msg"]
        pod.ready()
        assert pod.ask()["version"] == 1
        assert pod.patch("good", code(version(81)), way=way)["hash"] == "good"
