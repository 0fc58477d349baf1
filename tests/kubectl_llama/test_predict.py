"""predict and chat: what is asked, what is printed, and what an error is worth."""

import base64
import io
import json
from pathlib import Path

import pytest

from kubectl_llama.edge.kinds import LLAMA, POD, SECRET
from tests.kubectl_llama.conftest import Run
from tests.support.cli_cluster import MemoryCluster, a_deployment, a_pod, says, serving, streams

pytestmark = pytest.mark.slow  # whole commands, with all that they import

QUESTION = '{"prompt": "What is the meaning of life?", "max_new_tokens": 4096}'


def a_secret(name: str, **keys: str) -> dict[str, object]:
    """A Secret with these keys."""
    data = {key: base64.b64encode(value.encode()).decode() for key, value in keys.items()}
    return {"metadata": {"name": name, "namespace": "default"}, "data": data}


def test_the_body_is_printed_as_it_came(cli: Run, cluster: MemoryCluster) -> None:
    """Not a byte more, so that a script can read it."""
    serving(cluster, says(b'{"status":  "success", "data": ["42"]}'))
    done = cli("predict", "llama", "-d", QUESTION)
    assert (done.code, done.out, done.err) == (0, '{"status":  "success", "data": ["42"]}', "")
    assert cluster.asked[0][0] == "/v1/models/llama:predict"
    assert cluster.asked[0][2] == json.loads(QUESTION)


def test_truss_predicts_words_need_no_name(cli: Run, cluster: MemoryCluster) -> None:
    """`truss predict -d '{…}'` of the source README: the only deployment is meant."""
    serving(cluster, says(b"{}"))
    assert cli("predict", "-d", QUESTION).code == 0
    assert cli("predict", "--published", "-d", QUESTION).code == 0


def test_the_package_of_the_folder_is_meant(
    cli: Run, cluster: MemoryCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As truss has it: config.yaml of the working folder names the model."""
    (tmp_path / "config.yaml").write_text("model_name: My Llama\n")
    monkeypatch.chdir(tmp_path)
    serving(cluster, says(b"{}"), "my-llama")
    serving(cluster, says(b"{}"), "another")
    assert cli("predict", "-d", "{}").code == 0
    assert cluster.asked[0][0] == "/v1/models/my-llama:predict"


def test_one_of_several_has_to_be_named(cli: Run, cluster: MemoryCluster) -> None:
    """Exit code 2, with their names."""
    serving(cluster, says(b"{}"), "one")
    serving(cluster, says(b"{}"), "two")
    done = cli("predict", "-d", "{}")
    assert done.code == 2
    assert "one, two" in done.err


def test_an_error_of_the_model_ends_with_5_and_its_body(cli: Run, cluster: MemoryCluster) -> None:
    """Truss exits with 0 then; here a script notices."""
    body = b'{"status": "error", "message": "prompt is missing", "error": {"code": "missing", "param": "prompt"}}'
    serving(cluster, says(body, status=400))
    done = cli("predict", "llama", "-d", "{}")
    assert (done.code, done.out) == (5, body.decode())
    assert "400: prompt is missing" in done.err


def test_a_missing_key_names_the_flag(cli: Run, cluster: MemoryCluster) -> None:
    """401 without --api-key-from."""
    serving(cluster, says(b'{"message": "no key"}', status=401))
    done = cli("predict", "llama", "-d", "{}")
    assert done.code == 5
    assert "--api-key-from" in done.err


def test_the_key_comes_from_a_secret_and_is_not_shown(cli: Run, cluster: MemoryCluster) -> None:
    """It goes into the header alone."""
    serving(cluster, says(b"{}"))
    cluster.add(SECRET, a_secret("keys", mine="sesame-open\n"))
    done = cli("predict", "llama", "-d", "{}", "--api-key-from", "keys")
    assert cluster.asked[0][1]["Authorization"] == "Api-Key sesame-open"
    assert "sesame" not in done.out + done.err


@pytest.mark.parametrize(("named", "code"), [("keys", 2), ("keys/three", 3), ("none", 3)])
def test_a_key_that_cannot_be_found_is_named(cli: Run, cluster: MemoryCluster, named: str, code: int) -> None:
    """Which keys there are, and never what they hold."""
    serving(cluster, says(b"{}"))
    cluster.add(SECRET, a_secret("keys", one="sesame1", two="sesame2"))
    done = cli("predict", "llama", "-d", "{}", "--api-key-from", named)
    assert (done.code, cluster.asked) == (code, [])
    assert "sesame" not in done.out + done.err


def test_a_stream_is_passed_on_piece_by_piece(cli: Run, cluster: MemoryCluster) -> None:
    """The request asks for it, and the events come as they are."""
    events = (b'data: {"index": 0, "text": "For"}\n\n', b"data: [DONE]\n\n")
    serving(cluster, streams(*events))
    done = cli("predict", "llama", "-d", QUESTION, "--stream")
    assert (done.code, done.out.encode()) == (0, b"".join(events))
    assert cluster.asked[0][2]["stream"] is True


def test_a_stream_that_ends_with_an_error_ends_with_5(cli: Run, cluster: MemoryCluster) -> None:
    """Though its status was 200."""
    last = b'event: error\ndata: {"message": "the deadline passed", "error": {"code": "deadline_exceeded"}}\n\n'
    serving(cluster, streams(b'data: {"text": "For"}\n\n', last))
    done = cli("predict", "llama", "-d", QUESTION, "--stream")
    assert done.code == 5
    assert "the deadline passed" in done.err


def test_a_stream_that_breaks_ends_with_5(cli: Run, cluster: MemoryCluster) -> None:
    """What came is printed, and not taken for the whole."""
    serving(cluster, streams(b'data: {"text": "For"}\n\n', ends=False))
    done = cli("predict", "llama", "-d", QUESTION, "--stream")
    assert done.code == 5
    assert "For" in done.out
    assert "broke off" in done.err


def test_headers_and_a_deadline_are_sent(cli: Run, cluster: MemoryCluster) -> None:
    """-H as with curl; --timeout is the server's to keep."""
    serving(cluster, says(b"{}", X_Request_Id="r1"))
    done = cli("predict", "llama", "-d", "{}", "-H", "X-Request-Id: r1", "--timeout", "30s", "-i")
    sent = cluster.asked[0][1]
    assert (sent["X-Request-Id"], sent["X-Request-Timeout"]) == ("r1", "30")
    assert done.out.startswith("HTTP/1.1 200 OK\n")
    assert "X-Request-Id: r1" in done.out


def test_the_body_comes_from_a_file_or_a_pipe(
    cli: Run, cluster: MemoryCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """-f FILE, -f -, or nothing at all."""
    serving(cluster, says(b"{}"))
    (tmp_path / "ask.json").write_text('{"from": "file"}')
    cli("predict", "llama", "-f", str(tmp_path / "ask.json"))
    for flags in (("-f", "-"), ()):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"from": "pipe"}')))
        cli("predict", "llama", *flags)
    assert [row[2]["from"] for row in cluster.asked] == ["file", "pipe", "pipe"]


def test_a_model_that_sleeps_is_asked_by_its_gateway(cli: Run, cluster: MemoryCluster) -> None:
    """Which wakes it, and holds the request meanwhile."""
    cluster.add(LLAMA, a_deployment(phase="Asleep", ready="0/0"))
    cluster.add(POD, a_pod("llama-gateway-1", app="llama-gateway"))
    cluster.answers["llama-gateway-1"] = says(b"{}")
    done = cli("predict", "llama", "-d", "{}")
    assert done.code == 0
    assert "gateway" in done.err


def test_a_model_that_does_not_serve_says_why(cli: Run, cluster: MemoryCluster) -> None:
    """With the sentence of the condition, before anything is sent."""
    wrong = {"type": "ModelCached", "status": "False", "reason": "DiskFull", "message": "the volume is full"}
    cluster.add(LLAMA, a_deployment(phase="Pending", conditions=[wrong]))
    cluster.add(POD, a_pod(ready=False))
    done = cli("predict", "llama", "-d", "{}")
    assert done.code == 1
    assert "DiskFull: the volume is full" in done.err


def test_a_deployment_that_is_not_there_ends_with_3(cli: Run, cluster: MemoryCluster) -> None:
    """With those that are."""
    cluster.add(LLAMA, a_deployment("other"))
    done = cli("predict", "llama", "-d", "{}")
    assert done.code == 3
    assert "there are other" in done.err


def test_a_conversation_remembers_and_forgets(
    cli: Run, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was said goes along, until /reset; /system sets who it is; the answer is on standard output."""
    said = b'data: {"choices": [{"delta": {"content": "Tokyo"}}]}\n\n'
    usage = b'data: {"choices": [], "usage": {"completion_tokens": 5}}\n\ndata: [DONE]\n\n'
    serving(cluster, streams(said, usage))
    talk = "Capital of Japan?\nAnd again?\nOnce more?\n/reset\n/system A pirate\nWho?\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(talk))
    done = cli("chat", "llama")
    asked = [[(row["role"], row["content"]) for row in body["messages"]] for _, _, body in cluster.asked]
    assert done.code == 0
    assert done.out == "Tokyo\n" * 4
    assert asked[1] == [("user", "Capital of Japan?"), ("assistant", "Tokyo"), ("user", "And again?")]
    assert [text for _, text in asked[2]] == ["Capital of Japan?", "Tokyo", "And again?", "Tokyo", "Once more?"]
    assert asked[3] == [("system", "A pirate"), ("user", "Who?")]
    assert "5 tokens" in done.err


def test_a_conversation_from_a_pipe_ends_with_5_at_an_error(
    cli: Run, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script notices; a person at a terminal goes on."""
    serving(cluster, says(b'{"error": {"message": "queue is full"}}', status=429, Retry_After="3"))
    monkeypatch.setattr("sys.stdin", io.StringIO("Hello\n"))
    done = cli("chat", "llama")
    assert done.code == 5
    assert "queue is full" in done.err
    assert "3 seconds" in done.err


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("-H", "sesame"), "no colon"),
        (("-H", "X-A: b\nsesame: c"), "header X-A"),
        (("--api-key-from", "Sesame Open"), "never its content"),
        (("--timeout", "soon"), "--timeout"),
    ],
)
def test_a_flag_that_cannot_be_meant_is_found_before_the_cluster_is_asked(
    cli: Run, cluster: MemoryCluster, flags: tuple[str, ...], says: str
) -> None:
    """Exit code 2, though there is no deployment either; what may be a key is not repeated."""
    done = cli("predict", "-d", "{}", *flags)
    assert done.code == 2
    assert says in done.err
    assert "esame" not in done.err


def test_a_body_that_is_no_text_is_usage(cli: Run, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 2, from a pipe and from the command line."""
    serving(cluster, says(b"{}"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe"), errors="surrogateescape"))
    for flags in ((), ("-d", "\udcff")):
        done = cli("predict", "llama", *flags)
        assert (done.code, cluster.asked) == (2, [])
        assert "not UTF-8" in done.err
