"""list, status, logs, and the small verbs that change one thing."""

import json
from collections.abc import Iterator

import pytest
import yaml

from kubectl_llama.edge.kinds import LLAMA, POD
from kubectl_llama.verbs import list as listing
from tests.kubectl_llama.conftest import Run
from tests.support.cli_cluster import MemoryCluster, a_deployment, a_pod

pytestmark = pytest.mark.slow  # whole commands, with all that they import

HISTORY = [
    {"revision": 3, "outcome": "Succeeded"},
    {"revision": 2, "outcome": "RolledBack"},
    {"revision": 1, "outcome": "Succeeded"},
]


def test_a_list_is_a_table_as_kubectl_has_it(cli: Run, cluster: MemoryCluster) -> None:
    """One row each, the columns aligned."""
    cluster.add(LLAMA, a_deployment("one", history=HISTORY))
    cluster.add(LLAMA, a_deployment("two", namespace="other"))
    header, row = cli("list").out.splitlines()
    assert header.split() == ["NAME", "MODEL", "READY", "PHASE", "REVISION", "ETA", "AGE"]
    assert row.split()[:5] == ["one", "org/tiny", "1/1", "Ready", "3"]
    assert len(cli("list", "-A").out.splitlines()) == 3


def test_an_empty_list_says_what_makes_one(cli: Run) -> None:
    """On standard error: a script reads nothing."""
    done = cli("list")
    assert (done.code, done.out) == (0, "")
    assert "kubectl llama push" in done.err


def test_kubectls_flags_may_stand_before_the_verb_or_behind_it(cli: Run, cluster: MemoryCluster) -> None:
    """Both are habits."""
    cluster.add(LLAMA, a_deployment("two", namespace="other"))
    assert "two" in cli("-n", "other", "list").out
    assert "two" in cli("list", "-n", "other").out


def test_a_status_is_json_with_what_scripts_need(cli: Run, cluster: MemoryCluster) -> None:
    """Name, revision, phase, ready, where to ask, and seconds of each stage."""
    stages = [{"name": "Load", "state": "done", "seconds": 3.5}]
    cluster.add(LLAMA, a_deployment(history=HISTORY, startup={"stages": stages}))
    shown = json.loads(cli("status", "llama", "-o", "json").out)
    assert (shown["name"], shown["namespace"], shown["revision"]) == ("llama", "default", 3)
    assert (shown["phase"], shown["ready"], shown["seconds"]) == ("Ready", "1/1", {"Load": 3.5})
    assert shown["predict"] == {
        "url": "http://llama.default.svc",
        "paths": ["/v1/models/llama:predict", "/predict", "/v1/chat/completions"],
    }


def test_a_status_tells_the_story(cli: Run, cluster: MemoryCluster) -> None:
    """State, start, and each condition with its sentence."""
    stages = [{"name": "Download", "state": "done", "seconds": 2.0, "bytesTotal": 2000, "bytesPerSecond": 1000}]
    cluster.add(LLAMA, a_deployment(startup={"stages": stages}, cost={"gpuHoursHeld": 2.0, "spent": 6.5}))
    said = cli("status").out
    assert "llama: Ready, 1/1 ready" in said
    assert "✓ Download    2.0s, 2.0 kB, 1.0 kB/s" in said
    assert "✓ Available       Serving: predict requests are answered" in said
    assert "spent 6.5" in said


LINES = [
    '2026-11-29T10:00:02.000Z {"level": "warning", "logger": "x", "message": "slow", "request_id": "r1", "seconds": 3}',
    '2026-11-29T10:00:09.000Z {"time": "2026-11-29T10:00:00+00:00", "level": "info", "message": "first"}',
    "2026-11-29T10:00:03.000Z Traceback of something else",
]


@pytest.fixture
def talkative(cluster: MemoryCluster) -> None:
    """A deployment with two replicas that have said something."""
    cluster.add(LLAMA, a_deployment())
    for name in ("llama-a", "llama-b"):
        cluster.add(POD, a_pod(name))
    cluster.logs = {
        "llama-a": LINES,
        "llama-b": ['2026-11-29T10:00:01.000Z {"level": "error", "message": "broken"}'],
    }


@pytest.mark.usefixtures("talkative")
def test_logs_of_all_replicas_are_one_story(cli: Run) -> None:
    """Sorted by time: time, replica, level, message, and the other fields."""
    rows = cli("logs").out.splitlines()
    assert [row.split()[1] for row in rows] == ["llama-a", "llama-b", "llama-a", "llama-a"]
    assert rows[0] == "10:00:00.000 llama-a info    first"
    assert rows[2] == "10:00:02.000 llama-a warning slow request_id=r1 seconds=3"
    assert rows[3].endswith("info    Traceback of something else")


@pytest.mark.usefixtures("talkative")
@pytest.mark.parametrize(
    ("flags", "messages"),
    [
        (("--min-level", "warning"), ["broken", "slow"]),
        (("--request-id", "r1"), ["slow"]),
        (("--includes", "s", "--excludes", "slow"), ["first", "Traceback of something else"]),
        (("--replica", "-b"), ["broken"]),
        (("--start", "2026-11-29T10:00:01Z", "--end", "2026-11-29T10:00:02Z"), ["broken", "slow"]),
        (("--tail", "1"), ["broken", "Traceback of something else"]),
        (("-f", "--min-level", "error"), ["broken"]),
    ],
)
def test_flags_choose_lines(cli: Run, flags: tuple[str, ...], messages: list[str]) -> None:
    """All demands hold together."""
    rows = [json.loads(row) for row in cli("logs", "llama", *flags, "-o", "json").out.splitlines()]
    assert [row["message"] for row in rows] == messages


def test_logs_without_a_pod_say_so(cli: Run, cluster: MemoryCluster) -> None:
    """Exit code 3, and where to look."""
    cluster.add(LLAMA, a_deployment())
    done = cli("logs", "llama")
    assert done.code == 3
    assert "kubectl llama status llama" in done.err


def test_scale_changes_the_replicas_alone(cli: Run, cluster: MemoryCluster) -> None:
    """By a patch of the one field."""
    cluster.add(LLAMA, a_deployment())
    assert cli("scale", "llama", "--replicas", "3").code == 0
    assert cluster.changes == [("patch", "llamadeployments", {"spec": {"replicas": 3}})]


@pytest.mark.parametrize(("flags", "revision"), [((), 1), (("--to", "2"), 2), (("--undo",), None)])
def test_rollback_runs_what_had_served_or_what_is_named(
    cli: Run, cluster: MemoryCluster, flags: tuple[str, ...], revision: int | None
) -> None:
    """Without --to the last before the newest that had served; --undo lets the spec hold again."""
    cluster.add(LLAMA, a_deployment(history=HISTORY))
    assert cli("rollback", "llama", *flags).code == 0
    assert cluster.changes == [("patch", "llamadeployments", {"spec": {"rollout": {"rollbackTo": revision}}})]


@pytest.mark.parametrize("flags", [("--to", "9"), ()])
def test_a_rollback_to_nothing_is_refused(cli: Run, cluster: MemoryCluster, flags: tuple[str, ...]) -> None:
    """Exit code 4, and nothing is written."""
    cluster.add(LLAMA, a_deployment(history=HISTORY[:1]))
    done = cli("rollback", "llama", *flags)
    assert (done.code, cluster.changes) == (4, [])


def test_delete_waits_until_it_is_gone(cli: Run, cluster: MemoryCluster) -> None:
    """The deployment and its pods."""
    cluster.add(LLAMA, a_deployment())
    done = cli("delete", "llama")
    assert done.code == 0
    assert [verb for verb, *_ in cluster.changes] == ["delete"]
    assert cli("delete", "llama").code == 3


@pytest.fixture
def watched(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment that changes, then goes, then Ctrl-C is pressed; a look follows each."""
    cluster.add(LLAMA, a_deployment())

    def changes() -> Iterator[None]:
        cluster.add(LLAMA, a_deployment(phase="Loading"))
        yield
        cluster.delete(LLAMA, "llama", "default")
        yield
        raise KeyboardInterrupt

    steps = changes()

    def pauses(_seconds: float) -> None:
        next(steps)

    monkeypatch.setattr(listing.time, "sleep", pauses)


@pytest.mark.usefixtures("watched")
def test_a_watch_prints_every_change_in_the_form_that_was_asked_for(cli: Run) -> None:
    """One document after the other, for a script that reads a stream of them; what is deleted comes last."""
    text, found, decoder = cli("list", "-w", "-o", "json").out, [], json.JSONDecoder()
    while text.strip():
        document, end = decoder.raw_decode(text.lstrip())
        found.append(document)
        text = text.lstrip()[end:]
    assert [row["phase"] for row in (*found[0]["items"], *found[1:])] == ["Ready", "Loading", "Deleted"]


@pytest.mark.usefixtures("watched")
def test_a_watch_prints_yaml_as_documents(cli: Run) -> None:
    """Parted as kubectl parts them."""
    first, *rest = yaml.safe_load_all(cli("list", "-w", "-o", "yaml").out)
    assert [row["phase"] for row in (*first["items"], *rest)] == ["Ready", "Loading", "Deleted"]


@pytest.mark.usefixtures("watched")
def test_a_watch_of_names_prints_names(cli: Run) -> None:
    """Nothing else stands on standard output."""
    assert cli("list", "-w", "-o", "name").out.splitlines() == ["llamadeployment.llama-operator.dev/llama"] * 3


@pytest.mark.usefixtures("watched")
def test_a_watch_tells_what_is_gone(cli: Run) -> None:
    """As a row of the table."""
    assert [row.split()[3] for row in cli("list", "-w").out.splitlines()[1:]] == ["Ready", "Loading", "Deleted"]
