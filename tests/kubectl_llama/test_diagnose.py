"""diagnose: one cause and one fix first; the evidence below; and a bundle without a secret."""

import base64
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from kubectl_llama.edge.kinds import EVENT, LLAMA, NODE, POD, SECRET
from kubectl_llama.view.redaction import Redactor
from tests.kubectl_llama.conftest import Run
from tests.support.cli_cluster import MemoryCluster, a_deployment, a_pod

TOKEN = "correct-horse-battery"
ENCODED = base64.b64encode(TOKEN.encode()).decode()
REJECTED = "the Hub at http://hub does not accept the token in Secret hf-access-token: correct it"


def row(kind: str, answer: str, reason: str, message: str = "") -> dict[str, str]:
    """A condition."""
    return {"type": kind, "status": answer, "reason": reason, "message": message}


@pytest.fixture
def broken(cluster: MemoryCluster) -> MemoryCluster:
    """A deployment whose token is wrong, with a pod that fails, events, logs, nodes, and the token all over it."""
    conditions = [
        row("Accepted", "True", "SpecValid"),
        row("PreflightPassed", "True", "ChecksPassed"),
        row("ModelCached", "False", "TokenRejected", REJECTED),
        row("ModelLoaded", "False", "Waiting"),
        row("Available", "False", "TokenRejected", REJECTED),
        row("Degraded", "True", "TokenRejected", REJECTED),
    ]
    body = a_deployment(phase="Failed", ready="0/1", readyReplicas=0, conditions=conditions)
    env = [{"name": "HF_TOKEN", "value": "some-other-value"}, {"name": "PLAIN", "value": f"x{TOKEN}x {ENCODED}"}]
    body["spec"]["podTemplate"] = {"spec": {"containers": [{"name": "inference", "env": env}]}}
    body["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(env)}
    body["metadata"]["managedFields"] = [{"manager": "x"}]
    cluster.add(LLAMA, body)
    pod = a_pod(ready=False)
    pod["metadata"]["labels"]["llama-operator.dev/deployment"] = "llama"
    pod["spec"] = {
        "nodeName": "node-1",
        "containers": [{"name": "inference", "env": env}],
        "volumes": [{"name": "token", "secret": {"secretName": "hf-access-token"}}],
    }
    ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    pod["status"]["containerStatuses"] = [{"name": "inference", "restartCount": 2, "state": {}, "lastState": ended}]
    cluster.add(POD, pod)
    event = {"type": "Warning", "reason": "BackOff", "message": f"token {TOKEN} failed", "lastTimestamp": "2026"}
    about = {"kind": "Pod", "name": "llama-1"}
    cluster.add(EVENT, {"metadata": {"name": "e", "namespace": "default"}, "involvedObject": about, **event})
    said = {"level": "error", "message": f"Authorization: Bearer hf_SomethingElse, {TOKEN}"}
    cluster.logs["llama-1"] = [f"2026-11-29T10:00:00Z {json.dumps(said)}"]
    cluster.add(NODE, {"metadata": {"name": "node-1"}, "status": {"allocatable": {"nvidia.com/gpu": "8", "cpu": "4"}}})
    data = {"hf_access_token": ENCODED}
    cluster.add(SECRET, {"metadata": {"name": "hf-access-token", "namespace": "default"}, "data": data})
    return cluster


@pytest.mark.usefixtures("broken")
def test_the_cause_and_its_fix_come_first(cli: Run) -> None:
    """Of six conditions the first that does not hold by itself; the others follow from it."""
    first, fix, *_ = cli("diagnose", "llama").out.splitlines()
    assert first == f"TokenRejected: {REJECTED}"
    assert fix.startswith("  fix: ")
    assert len(fix) > len("  fix: ") + 10


@pytest.mark.usefixtures("broken")
def test_the_evidence_is_below(cli: Run) -> None:
    """Conditions, pods with how they ended, events, nodes, and the last words."""
    shown = json.loads(cli("diagnose", "-o", "json").out)
    evidence = shown["evidence"]
    assert shown["cause"]["reason"] == "TokenRejected"
    assert any("ended with code 137 (OOMKilled), 2 restarts" in line for line in evidence["pods"])
    assert evidence["events"][0].startswith("BackOff of Pod llama-1")
    assert evidence["nodes"] == ["node-1: nvidia.com/gpu 8, cpu 4"]
    assert "error" in evidence["last words of the servers"][0]


def contents(path: Path) -> dict[str, str]:
    """The files of a bundle."""
    with tarfile.open(path) as archive:
        found = {row.name: archive.extractfile(row) for row in archive}
        return {name: file.read().decode() for name, file in found.items() if file is not None}


@pytest.mark.usefixtures("broken")
def test_a_bundle_has_all_of_it_and_no_secret(cli: Run, tmp_path: Path) -> None:
    """Every file is searched for what stands in the Secret, in any form, and for what looks like a token."""
    path = tmp_path / "bundle.tar.gz"
    done = cli("diagnose", "llama", "--bundle", str(path))
    files = contents(path)
    assert {"llama/deployment.yaml", "llama/pods.yaml", "llama/events.yaml", "llama/nodes.yaml"} <= files.keys()
    assert "llama/logs/llama-1.inference.jsonl" in files
    assert "llama/logs/llama-1.inference.previous.jsonl" in files
    whole = "\n".join((*files.values(), done.out, done.err))
    hidden = (TOKEN, ENCODED, "hf_SomethingElse", "some-other-value", "managedFields")
    assert [text for text in hidden if text in whole] == []
    assert "[redacted]" in whole


@pytest.mark.parametrize(
    ("status", "healthy", "says"),
    [
        ({}, True, "nothing is wrong: predict requests are answered"),
        ({"phase": "Asleep"}, True, "sleeps"),
        ({"phase": "Stopped"}, True, "scale llama --replicas 1"),
        ({"phase": "Loading", "conditions": [row("ModelLoaded", "Unknown", "Loading")]}, True, "on its way"),
        ({"observedGeneration": 0}, False, "NotSeen: no operator"),
        (
            {
                "conditions": [
                    row("Progressing", "False", "Settled"),
                    row("Degraded", "True", "RolledBack", "went back"),
                ]
            },
            False,
            "RolledBack: went back",
        ),
    ],
)
def test_what_is_no_fault_is_told_as_such(
    cli: Run, cluster: MemoryCluster, status: dict[str, Any], healthy: bool, says: str
) -> None:
    """Sleep, a start under way, an operator that is not there."""
    cluster.add(LLAMA, a_deployment(**status))
    cause_and_fix = cli("diagnose", "llama").out.splitlines()[:2]
    assert says in "\n".join(cause_and_fix)
    assert json.loads(cli("diagnose", "llama", "-o", "json").out)["healthy"] is healthy


@pytest.mark.parametrize(
    "text",
    [
        "hf_abcdefghijklmnop",
        "Authorization: Bearer abc.def-ghi",
        "api-key sesame-open",
        "http://me:sesame@host/x",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    ],
)
def test_what_looks_like_a_token_is_taken_out(text: str) -> None:
    """Though no Secret that is known holds it."""
    secret = text.rsplit(maxsplit=1)[-1].removeprefix("http://me:").partition("@")[0]
    assert secret not in Redactor().text(f"before {text} after")
    named = "Secret hf-access-token, key hf_access_token"
    assert Redactor().text(named) == named


AWKWARD = 'quo"te-back\\slash-grüße'
KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize("secret", [AWKWARD, KEY.strip(), KEY.splitlines()[1]])
def test_a_secret_that_json_would_escape_is_taken_out_of_logs(
    cli: Run, broken: MemoryCluster, tmp_path: Path, secret: str
) -> None:
    """Quotes, backslashes, lines and letters beyond ASCII are looked for before they are written as JSON."""
    data = {key: base64.b64encode(value.encode()).decode() for key, value in {"a": AWKWARD, "b": KEY}.items()}
    broken.add(SECRET, {"metadata": {"name": "hf-access-token", "namespace": "default"}, "data": data})
    broken.logs["llama-1"] = [f"2026-11-29T10:00:00Z {json.dumps({'level': 'error', 'message': f'got {secret} here'})}"]
    path = tmp_path / "bundle.tar.gz"
    cli("diagnose", "llama", "--bundle", str(path))
    (line,) = contents(path)["llama/logs/llama-1.inference.jsonl"].splitlines()
    assert json.loads(line)["message"] == "got [redacted] here"


@pytest.mark.parametrize("place", ["package", "default", "pull"])
def test_every_secret_of_a_package_and_its_image_is_known(
    cli: Run, broken: MemoryCluster, tmp_path: Path, place: str
) -> None:
    """Those that spec.package.secrets names, the one that holds the others, and those that pull its image."""
    body = a_deployment()
    package = {"image": "x@sha256:0", "secrets": [{"name": "a", "secretName": "package"}]}
    body["spec"] = {"package": package, "podTemplate": {"spec": {"imagePullSecrets": [{"name": "pull"}]}}}
    broken.add(LLAMA, body)
    login = json.dumps({"auths": {"registry": {"username": "me", "password": "swordfish"}}})
    name = {"default": "package-secrets"}.get(place, place)
    data = {"x": base64.b64encode((login if place == "pull" else "swordfish").encode()).decode()}
    broken.add(SECRET, {"metadata": {"name": name, "namespace": "default"}, "data": data})
    broken.logs["llama-1"] = ["2026-11-29T10:00:00Z got swordfish here"]
    path = tmp_path / "bundle.tar.gz"
    cli("diagnose", "llama", "--bundle", str(path))
    assert "got [redacted] here" in contents(path)["llama/logs/llama-1.inference.jsonl"]


def test_an_argument_behind_a_flag_for_a_secret_is_taken_out() -> None:
    """Of a container's arguments; others stay, --max-tokens and --tokenizer too."""
    args = ["--token", "zzzz", "--hf-api-key=zzzz", "--max-tokens", "512", "--tokenizer", "auto", "--port", "80"]
    assert Redactor().value({"args": args})["args"] == [
        *("--token", "[redacted]", "--hf-api-key=[redacted]", "--max-tokens", "512"),
        *("--tokenizer", "auto", "--port", "80"),
    ]
