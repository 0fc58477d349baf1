"""push: from flags or a file to a LlamaDeployment, and on to its first answer or to what stands in its way."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubectl_llama.edge.kinds import LLAMA
from kubectl_llama.errors import CliError
from kubectl_llama.verbs import push
from tests.kubectl_llama.conftest import Run
from tests.support.cli_cluster import MemoryCluster, a_deployment

pytestmark = pytest.mark.slow  # whole commands, with all that they import

MODEL = ("push", "--model", "meta-llama/Llama-2-70b-chat-hf")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow each other without a pause."""
    monkeypatch.setattr(push, "LOOK_SECONDS", 0)


def becomes(cluster: MemoryCluster, *statuses: dict[str, Any]) -> None:
    """Let each look at what was pushed see the next status."""
    rows: Iterator[dict[str, Any]] = iter(statuses)

    def look() -> None:
        for key, obj in cluster.objects.items():
            status = next(rows, None) if key[0] == LLAMA.plural else None
            if status is not None:
                seen = {"observedGeneration": obj["metadata"]["generation"], **status}
                cluster.objects[key] = {**obj, "status": seen}

    cluster.looks = look


def condition(kind: str, answer: str, reason: str, message: str = "why") -> dict[str, str]:
    """A condition."""
    return {"type": kind, "status": answer, "reason": reason, "message": message}


READY = {**a_deployment()["status"], "observedGeneration": 99}


def pushed(cluster: MemoryCluster) -> dict[str, Any]:
    """The only object that was applied."""
    ((verb, kind, obj),) = cluster.changes
    assert (verb, kind) == ("apply", "llamadeployments")
    return dict(obj)


def test_a_models_name_is_all_that_is_needed(cli: Run, cluster: MemoryCluster) -> None:
    """The deployment is called as the model is, and has the operator's own defaults."""
    becomes(cluster, READY, READY)
    done = cli(*MODEL)
    assert done.code == 0
    obj = pushed(cluster)
    assert obj["metadata"] == {"name": "llama-2-70b-chat-hf", "namespace": "default"}
    assert obj["spec"] == {"model": {"repo": "meta-llama/Llama-2-70b-chat-hf"}}


def test_flags_become_fields(cli: Run, cluster: MemoryCluster) -> None:
    """Each flag is the field that it is named for."""
    flags = ("--gpu", "H100:4", "--secret", "mine/token", "--revision", "v1", "--set", "spec.replicas=2")
    done = cli(*MODEL, *flags, "--set", "engine.maxContextTokens=4096", "--name", "big", "-n", "team", "--no-wait")
    assert done.code == 0
    obj = pushed(cluster)
    assert obj["metadata"] == {"name": "big", "namespace": "team"}
    assert obj["spec"]["model"]["tokenSecretRef"] == {"name": "mine", "key": "token"}
    assert obj["spec"]["model"]["revision"] == "v1"
    assert obj["spec"]["resources"]["gpu"] == {"product": "H100", "count": 4}
    assert (obj["spec"]["replicas"], obj["spec"]["engine"]["maxContextTokens"]) == (2, 4096)


@pytest.mark.parametrize(
    ("gpu", "means"),
    [("0", {"count": 0}), ("2", {"count": 2}), ("A100", {"product": "A100", "count": 1})],
)
def test_gpus_are_a_product_a_count_or_both(cli: Run, cluster: MemoryCluster, gpu: str, means: dict[str, Any]) -> None:
    """0 runs on CPUs."""
    assert cli(*MODEL, "--gpu", gpu, "--no-wait").code == 0
    assert pushed(cluster)["spec"]["resources"]["gpu"] == means


@pytest.mark.parametrize(
    ("args", "field"),
    [
        (("--gpu", "two"), ""),
        (("--gpu", "A100:two"), "--gpu"),
        (("--name", "Big_One"), "--name"),
        (("--set", "replicas"), "--set"),
        (("--set", "replicas=[1"), "--set"),
        (("--secret", "hf_Token Itself"), "--secret"),
        (("--environment", "production"), "--environment"),
    ],
)
def test_what_no_flag_means_is_usage(cli: Run, cluster: MemoryCluster, args: tuple[str, str], field: str) -> None:
    """Exit code 2, the flag and what to write; nothing is created."""
    done = cli(*MODEL, *args, "-o", "json", "--no-wait")
    assert cluster.changes == [] or not field
    if field:
        assert done.code == 2
        assert json.loads(done.out)["error"]["field"] == field


def test_a_token_written_in_place_of_a_secrets_name_is_not_repeated(cli: Run) -> None:
    """Whoever mixes the two up finds no token in the output."""
    done = cli(*MODEL, "--secret", "hf_SomeTokenOfMine", "-o", "json")
    assert done.code == 2
    assert "SomeToken" not in done.out + done.err


def test_an_unknown_field_is_refused_with_the_nearest_before_anything_is_created(
    cli: Run, cluster: MemoryCluster
) -> None:
    """Exit code 4."""
    done = cli(*MODEL, "--set", "replica=2", "-o", "json")
    error = json.loads(done.out)["error"]
    assert (done.code, cluster.changes) == (4, [])
    assert (error["code"], error["field"]) == ("InvalidSpec", "spec.replica")
    assert "spec.replicas" in error["fix"]


def test_a_file_is_pushed_as_it_is(cli: Run, cluster: MemoryCluster, tmp_path: Path) -> None:
    """With what --set says on top."""
    file = tmp_path / "llama.yaml"
    given = a_deployment("mine")
    file.write_text(yaml.safe_dump(given))
    assert cli("push", "-f", str(file), "--set", "replicas=3", "--no-wait").code == 0
    assert pushed(cluster)["spec"] == {**given["spec"], "replicas": 3}


def test_a_file_may_come_from_a_pipe(cli: Run, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """-f - reads standard input."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(yaml.safe_dump(a_deployment("piped")).encode())))
    assert cli("push", "-f", "-", "--no-wait").code == 0
    assert pushed(cluster)["metadata"]["name"] == "piped"


def test_a_file_with_something_else_is_usage(cli: Run, tmp_path: Path) -> None:
    """It says what the file holds, and what takes it."""
    file = tmp_path / "pod.yaml"
    file.write_text("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n")
    done = cli("push", "-f", str(file))
    assert done.code == 2
    assert "Pod" in done.err
    assert "kubectl apply" in done.err


def test_a_file_of_another_namespace_is_usage(cli: Run, tmp_path: Path) -> None:
    """As kubectl has it: nothing lands where nobody meant it to."""
    file = tmp_path / "llama.yaml"
    file.write_text(yaml.safe_dump(a_deployment(namespace="theirs")))
    done = cli("push", "-f", str(file), "-n", "mine")
    assert done.code == 2
    assert "-n theirs" in done.err


def test_a_dry_run_prints_what_would_be_applied_and_creates_nothing(cli: Run, cluster: MemoryCluster) -> None:
    """On standard output, for kubectl apply to read."""
    done = cli(*MODEL, "--gpu", "0", "--dry-run", "client")
    assert (done.code, cluster.changes) == (0, [])
    assert yaml.safe_load(done.out)["spec"]["resources"]["gpu"] == {"count": 0}


def test_a_difference_is_printed_and_nothing_changed(cli: Run, cluster: MemoryCluster) -> None:
    """Only the lines that differ, as the API server would have them."""
    cluster.add(LLAMA, a_deployment("llama-2-70b-chat-hf"))
    done = cli(*MODEL, "--diff")
    assert (done.code, cluster.changes) == (0, [])
    assert "-    repo: org/tiny" in done.out
    assert "+    repo: meta-llama/Llama-2-70b-chat-hf" in done.out


def test_the_timeline_is_told_line_by_line(cli: Run, cluster: MemoryCluster) -> None:
    """Where nobody looks at a terminal: each stage when it begins and when it is over, on standard error."""
    running = {"name": "Download", "state": "running", "bytesDone": 5, "bytesTotal": 10, "etaSeconds": 65}
    done_one = {"name": "Download", "state": "done", "seconds": 2.0, "bytesTotal": 10}
    becomes(
        cluster,
        {},
        {"phase": "Downloading", "startup": {"stages": [running]}},
        {"phase": "Loading", "startup": {"stages": [done_one, {"name": "Load", "state": "running"}]}},
        {**READY, "startup": {"stages": [done_one]}},
        {**READY, "startup": {"stages": [done_one]}},
    )
    done = cli(*MODEL, "-o", "json")
    shown = json.loads(done.out)
    assert done.code == 0
    assert "Download   5 B of 10 B, 65s left" in done.err
    assert done.err.index("▸ Download") < done.err.index("✓ Download") < done.err.index("▸ Load")
    assert (shown["phase"], shown["ready"], shown["seconds"]) == ("Ready", "1/1", {"Download": 2.0})
    assert shown["predict"]["url"] == "http://llama.default.svc"


def test_what_preflight_refuses_ends_with_4_and_its_sentence(cli: Run, cluster: MemoryCluster) -> None:
    """No pod was created: the reason and what to do are the condition's own."""
    wrong = condition("PreflightPassed", "False", "TokenRejected", "the Hub does not accept the token: correct it")
    becomes(cluster, {}, {"phase": "Pending", "conditions": [wrong]})
    done = cli(*MODEL, "-o", "json")
    error = json.loads(done.out)["error"]
    assert (done.code, error["code"]) == (4, "TokenRejected")
    assert "correct it" in error["message"]
    assert "diagnose" in error["fix"]


def test_checks_under_way_are_waited_for(cli: Run, cluster: MemoryCluster) -> None:
    """The Hub being asked is no refusal."""
    checking = {"phase": "Pending", "conditions": [condition("PreflightPassed", "False", "Checking")]}
    becomes(cluster, {}, checking, READY, READY)
    assert cli(*MODEL).code == 0


def test_a_rollout_that_went_back_ends_with_1(cli: Run, cluster: MemoryCluster) -> None:
    """The old pods serve, and yet what was pushed has failed."""
    back = condition("Degraded", "True", "RolledBack", "revision 2 failed")
    becomes(cluster, {}, {**READY, "conditions": [back]}, {**READY, "conditions": [back]})
    done = cli(*MODEL)
    assert done.code == 1
    assert "revision 2 failed" in done.err


def test_an_older_status_does_not_count(cli: Run, cluster: MemoryCluster) -> None:
    """What served before the push says nothing of what was pushed."""
    ready_before = {**READY, "observedGeneration": 0}
    becomes(cluster, ready_before, ready_before)
    done = cli(*MODEL, "--timeout", "50ms")
    assert done.code == 6


def test_a_time_out_ends_with_6_and_says_how_to_look_again(cli: Run, cluster: MemoryCluster) -> None:
    """It goes on in the cluster."""
    done = cli(*MODEL, "--timeout", "50ms")
    assert done.code == 6
    assert "kubectl llama status llama-2-70b-chat-hf -n default -w" in done.err


def test_ctrl_c_leaves_the_deployment_alone(cli: Run, cluster: MemoryCluster) -> None:
    """Exit code 130, and how to look again."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    cluster.looks = interrupted
    done = cli(*MODEL)
    assert done.code == 130
    assert "kubectl llama status llama-2-70b-chat-hf" in done.err
    assert [verb for verb, *_ in cluster.changes] == ["apply"]


def test_flags_of_truss_are_taken_with_one_note(cli: Run, cluster: MemoryCluster) -> None:
    """`truss push --trusted --publish`, word for word."""
    done = cli(*MODEL, "--trusted", "--publish", "--no-wait", "-o", "name")
    assert done.code == 0
    assert done.err.count("note:") == 1
    assert done.out == "llamadeployment.llama-operator.dev/llama-2-70b-chat-hf\n"


def test_what_scale_has_set_is_no_conflict(cli: Run, cluster: MemoryCluster) -> None:
    """Fields of this program's other verbs are taken over; those of others are not."""
    cluster.refuses = CliError('Apply failed with 1 conflict: conflict with "kubectl-llama": .spec.replicas')
    assert cli(*MODEL, "--no-wait").code == 0
    cluster.refuses = CliError('Apply failed with 1 conflict: conflict with "argocd": .spec.replicas', code="Conflict")
    assert cli(*MODEL, "--no-wait").code == 1


def test_a_push_ends_a_rollback(cli: Run, cluster: MemoryCluster) -> None:
    """Else what was pushed would never run, and nothing would say so."""
    held = a_deployment("llama-2-70b-chat-hf")
    held["spec"]["rollout"] = {"rollbackTo": 3}
    cluster.add(LLAMA, held)
    done = cli(*MODEL, "--no-wait")
    assert "rollbackTo" in done.err
    stored = cluster.objects["llamadeployments", "default", "llama-2-70b-chat-hf"]
    assert stored["spec"]["rollout"] == {}


@pytest.mark.parametrize("flags", [("push", "--model", "a/b"), ("delete", "llama")])
def test_a_time_that_is_none_is_found_before_anything_changes(
    cli: Run, cluster: MemoryCluster, flags: tuple[str, ...]
) -> None:
    """Exit code 2 means that nothing was done."""
    cluster.add(LLAMA, a_deployment())
    done = cli(*flags, "--timeout", "abc")
    assert (done.code, cluster.changes) == (2, [])
    assert "--timeout is 'abc'" in done.err


HEAD = "apiVersion: llama-operator.dev/v1alpha1\nkind: LlamaDeployment\n"


@pytest.mark.parametrize(
    ("rest", "field"),
    [
        ("metadata: foo\n", "metadata"),
        ("metadata: {name: x}\nspec: foo\n", "spec"),
        ("metadata: {name: x, labels: {a: !!binary aGk=}}\nspec: {}\n", "--filename"),
    ],
)
def test_a_file_of_another_form_is_usage(
    cli: Run, cluster: MemoryCluster, tmp_path: Path, rest: str, field: str
) -> None:
    """With the field; nothing is created."""
    file = tmp_path / "llama.yaml"
    file.write_text(HEAD + rest)
    done = cli("push", "-f", str(file), "--set", "replicas=1", "-o", "json", "--no-wait")
    assert (done.code, cluster.changes) == (2, [])
    assert json.loads(done.out)["error"]["field"] == field


def test_a_date_in_a_file_is_text(cli: Run, cluster: MemoryCluster, tmp_path: Path) -> None:
    """As it is for kubectl."""
    file = tmp_path / "llama.yaml"
    file.write_text(f"{HEAD}metadata: {{name: x, annotations: {{d: 2024-01-01}}}}\nspec: {{model: {{repo: a/b}}}}\n")
    assert cli("push", "-f", str(file), "--no-wait").code == 0
    assert pushed(cluster)["metadata"]["annotations"] == {"d": "2024-01-01"}
    assert "2024-01-01" in cli("push", "-f", str(file), "--dry-run", "client").out


@pytest.mark.parametrize("where", ["client", "server"])
def test_a_dry_run_prints_the_name_alone_where_that_is_asked_for(cli: Run, where: str) -> None:
    """As kubectl apply --dry-run does."""
    done = cli(*MODEL, "--dry-run", where, "-o", "name")
    assert (done.code, done.out) == (0, "llamadeployment.llama-operator.dev/llama-2-70b-chat-hf\n")


def test_a_files_namespace_counts_unless_one_is_named(cli: Run, cluster: MemoryCluster, tmp_path: Path) -> None:
    """As with kubectl; the context's is for files that name none."""
    file = tmp_path / "llama.yaml"
    file.write_text(yaml.safe_dump(a_deployment(namespace="theirs")))
    done = cli("push", "-f", str(file), "--no-wait")
    assert done.code == 0
    assert pushed(cluster)["metadata"]["namespace"] == "theirs"
    assert "-n theirs" in done.err


def test_a_file_that_is_no_text_is_usage(cli: Run, tmp_path: Path) -> None:
    """With the flag that named it."""
    file = tmp_path / "llama.yaml"
    file.write_bytes(b"\xff\xfe")
    done = cli("push", "-f", str(file), "-o", "json")
    assert (done.code, json.loads(done.out)["error"]["field"]) == (2, "--filename")
