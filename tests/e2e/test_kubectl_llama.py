"""`kubectl llama` as users run it: through kubectl's own plugin mechanism, against the operator and a real model."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support import models
from tests.support.cluster import Namespace
from tests.support.kubectl import environment
from tests.support.served import GATED, TOKEN, mock, token_secret
from tools.pictures import KEEP

pytestmark = pytest.mark.cluster
WRONG = "hf_NobodyKnowsThisToken"
NAME = "smollm2-135m-instruct"


def llama(space: Namespace, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run `kubectl llama …` in a namespace; its exit code is the caller's to judge."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment()['PATH']}"
    return subprocess.run(
        ["kubectl", "llama", *args, "-n", space.name],
        input=stdin,
        text=True,
        capture_output=True,
        check=False,
        timeout=300,
        env={**environment(), "PATH": path},
    )


def keep(space: Namespace, verb: str, *args: str) -> None:
    """Keep what a command prints, for the pictures in the documentation, where tools.pictures asks for it."""
    if KEEP not in os.environ:
        return
    file = Path(os.environ[KEEP])
    done = llama(space, verb, *args)
    runs: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    said = f"{done.stdout}{done.stderr}".replace(space.name, "models")
    runs[verb] = f"$ kubectl llama {' '.join((verb, *args))}\n{said}"
    file.write_text(json.dumps(runs, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def told(space: Namespace, *args: str, stdin: str = "") -> str:
    """What it prints on standard output, when it succeeds."""
    done = llama(space, *args, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_models_name_is_served_asked_talked_with_and_gone(space: Namespace) -> None:
    """The common case, without a line of YAML: push waits, predict and chat answer, delete leaves nothing."""
    pushed = llama(space, "push", "--model", models.SMOLLM2, "--gpu", "0", "-o", "json")
    assert pushed.returncode == 0, pushed.stderr
    shown = json.loads(pushed.stdout)
    assert (shown["name"], shown["phase"], shown["ready"], shown["revision"]) == (NAME, "Ready", "1/1", 1)
    assert all(stage in pushed.stderr for stage in ("Preflight", "Download", "Load"))
    assert shown["seconds"]["Load"] > 0

    keep(space, "push", "--model", models.SMOLLM2, "--gpu", "0")
    keep(space, "status", NAME)

    question = {"messages": [{"role": "user", "content": "What is the capital city of Japan?"}], "num_beams": 1}
    question |= {"max_new_tokens": 64, "temperature": 0}
    assert "Tokyo" in json.loads(told(space, "predict", "-d", json.dumps(question)))["data"][0]
    talk = llama(
        space, "chat", NAME, "--temperature", "0", "--max-tokens", "12", stdin="What is the capital of Japan?\n"
    )
    assert "Tokyo" in talk.stdout
    assert "tokens" in talk.stderr

    assert NAME in told(space, "list")
    assert "predict requests are answered" in told(space, "status", NAME)
    assert "nothing is wrong" in told(space, "diagnose", NAME)
    lines = [json.loads(line) for line in told(space, "logs", NAME, "-o", "json").splitlines()]
    assert any(line["level"] == "info" and line["replica"].startswith(NAME) for line in lines)

    told(space, "delete", NAME)
    assert space.list("pods", f"app.kubernetes.io/instance={NAME}") == []
    assert llama(space, "status", NAME).returncode == 3


def test_answers_come_piece_by_piece_through_the_port_forward(space: Namespace) -> None:
    """A stream is passed on whole, a long one can be left, a refusal ends with 5, and a key comes out of a Secret."""
    keys = {"apiKeySecretSelector": {"matchLabels": {"keys": "mine"}}}
    space.run("create", "secret", "generic", "mine", "--from-literal=key=sesame")
    space.run("label", "secret", "mine", "keys=mine")
    told(space, "push", "-f", "-", stdin=json.dumps(mock("mock", step_seconds=0.05, auth=keys)))
    key = ("--api-key-from", "mine/key")
    stream = {"prompt": "Hello", "max_new_tokens": 24, "num_beams": 1}
    events = told(space, "predict", "mock", *key, "--stream", "-f", "-", stdin=json.dumps(stream))
    assert events.count("data: ") > 3
    assert events.rstrip().endswith("data: [DONE]")
    refused = llama(space, "predict", "mock", *key, "-d", '{"prompt": 3}')
    assert refused.returncode == 5
    assert "prompt" in refused.stderr
    keyless = llama(space, "predict", "mock", "-d", json.dumps(stream))
    assert keyless.returncode == 5
    assert "--api-key-from" in keyless.stderr
    talk = llama(space, "chat", "mock", *key, "--max-tokens", "8", stdin="Hello\nAnd?\n")
    assert (talk.returncode, len(talk.stdout.splitlines())) == (0, 2), talk.stderr
    assert "sesame" not in f"{refused.stderr}{keyless.stderr}{talk.stderr}"


def test_a_wrong_token_is_told_by_push_plan_and_diagnose_and_shown_by_none(space: Namespace, tmp_path: Path) -> None:
    """Exit code 4 with the condition's words; a bundle that holds neither token; corrected, the same push serves."""
    space.apply(token_secret(WRONG))
    flags = ("--model", GATED, "--gpu", "A100:1", "--name", "gated")
    planned = llama(space, "plan", *flags)
    assert planned.returncode == 4
    pushed = llama(space, "push", *flags, "-o", "json")
    assert pushed.returncode == 4, pushed.stderr
    error = json.loads(pushed.stdout)["error"]
    assert error["code"] == "TokenRejected"
    assert "hf-access-token" in error["message"]

    bundle = tmp_path / "bundle.tar.gz"
    found = llama(space, "diagnose", "gated", "--bundle", str(bundle))
    assert found.stdout.startswith("TokenRejected: ")
    keep(space, "diagnose", "gated")

    space.apply(token_secret(TOKEN))
    assert "room: now" in told(space, "plan", *flags)
    keep(space, "plan", *flags, "--gpu-hour-price", "3.5")
    told(space, "push", *flags)
    told(space, "diagnose", "gated", "--bundle", str(tmp_path / "later.tar.gz"))
    written = "".join(f"{row.stdout}{row.stderr}" for row in (planned, pushed, found))
    for file in (bundle, tmp_path / "later.tar.gz"):
        with tarfile.open(file) as archive:
            parts = [archive.extractfile(row) for row in archive]
            written += "".join(part.read().decode() for part in parts if part is not None)
    assert WRONG not in written
    assert TOKEN not in written
