"""Packages: a folder with config.yaml and model.py to a ConfigMap and a LlamaDeployment, and what is refused before."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubectl_llama.ask import model_code
from llama_packages import archive
from tests.kubectl_llama.conftest import Run
from tests.support.cli_cluster import MemoryCluster

pytestmark = pytest.mark.slow  # whole commands, with all that they import

CHAT: dict[str, Any] = {
    "model_name": "Llama 2 chat",
    "python_version": "py311",
    "resources": {"accelerator": "A100:2", "cpu": "3", "memory": "14Gi"},
    "secrets": {"hf_access_token": "ENTER HF API KEY HERE"},
}
MODEL = """
class Model:
    def __init__(self, **kwargs):
        self._secrets = kwargs["secrets"]

    def load(self):
        self._token = self._secrets["hf_access_token"]

    def predict(self, request):
        return request
"""


def write(folder: Path, config: dict[str, Any], source: str = MODEL) -> Path:
    """Write a package."""
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "model.py").write_text(source)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture
def chat(tmp_path: Path) -> Path:
    """The source's own kind of package: a Llama chat that reads a token and wants two A100s."""
    return write(tmp_path / "chat", CHAT)


def pushed(cluster: MemoryCluster) -> tuple[dict[str, Any], dict[str, Any]]:
    """The ConfigMap and the deployment that were applied, in this order."""
    assert [(verb, kind) for verb, kind, _ in cluster.changes] == [
        ("apply", "configmaps"),
        ("apply", "llamadeployments"),
    ]
    return dict(cluster.changes[0][2]), dict(cluster.changes[1][2])


def test_a_folder_becomes_a_config_map_and_a_deployment(cli: Run, cluster: MemoryCluster, chat: Path) -> None:
    """The archive under its digest, and what config.yaml asks of nodes as fields of the spec."""
    done = cli("push", str(chat), "--no-wait", "-o", "json")
    assert done.code == 0, done.err
    config_map, body = pushed(cluster)
    packed = base64.b64decode(config_map["binaryData"]["package.tgz"])
    digest = archive.digest(packed)
    name = f"llama-2-chat-package-{digest[:10]}"
    assert config_map["metadata"]["name"] == name
    assert config_map["metadata"]["labels"] == {"llama-operator.dev/deployment": "llama-2-chat"}
    assert config_map["immutable"] is True
    assert body["metadata"]["name"] == "llama-2-chat"
    assert body["spec"]["package"] == {"configMap": name, "digest": digest}
    gpu = {"count": 2, "product": "A100", "resourceName": "nvidia.com/gpu"}
    assert body["spec"]["resources"] == {"gpu": gpu, "cpu": "3", "memory": "14Gi", "memoryLimit": "14Gi"}
    assert json.loads(done.out)["package"] == {"digest": digest, "bytes": len(packed), "where": name}


def test_a_value_under_secrets_is_never_stored_or_printed(cli: Run, cluster: MemoryCluster, chat: Path) -> None:
    """What stands there is a placeholder at best."""
    done = cli("push", str(chat), "--no-wait", "-o", "json")
    config_map, body = pushed(cluster)
    config = archive.unpack_config(base64.b64decode(config_map["binaryData"]["package.tgz"]))
    assert config["secrets"] == {"hf_access_token": None}
    assert "ENTER HF" not in f"{done.out}{done.err}{body}"


def test_the_source_readmes_words_push_the_working_folder(
    cli: Run, cluster: MemoryCluster, chat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`truss push --trusted` with the package as working directory."""
    monkeypatch.chdir(chat)
    done = cli("push", "--trusted", "--no-wait")
    assert done.code == 0
    assert pushed(cluster)[1]["metadata"]["name"] == "llama-2-chat"


def test_the_same_files_are_the_same_push(cli: Run, cluster: MemoryCluster, chat: Path, tmp_path: Path) -> None:
    """A copy of the folder has the same digest: nothing is rolled out."""
    cli("push", str(chat), "--no-wait")
    first = pushed(cluster)[1]["spec"]["package"]
    cluster.changes.clear()
    cli("push", str(write(tmp_path / "copy", CHAT)), "--no-wait")
    assert pushed(cluster)[1]["spec"]["package"] == first


def test_flags_say_where_secrets_come_from_and_which_python(cli: Run, cluster: MemoryCluster, chat: Path) -> None:
    """--secret may be repeated."""
    flags = ("--secret", "hf_access_token=mine/token", "--secret", "other=theirs", "--python", "3.12", "--gpu", "0")
    assert cli("push", str(chat), *flags, "--no-wait").code == 0
    spec = pushed(cluster)[1]["spec"]
    assert spec["package"]["secrets"] == [
        {"name": "hf_access_token", "secretName": "mine", "key": "token"},
        {"name": "other", "secretName": "theirs"},
    ]
    assert spec["package"]["python"] == "3.12"
    assert spec["resources"]["gpu"] == {"count": 0}


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"system_packages": ["ffmpeg"]}, "image"),
        ({"modelname": "x"}, "model_name"),
        ({"resources": {"accelerator": "A1000"}}, "A100"),
    ],
)
def test_a_field_that_cannot_be_served_is_refused_before_anything_is_created(
    cli: Run, cluster: MemoryCluster, tmp_path: Path, config: dict[str, Any], says: str
) -> None:
    """Exit code 4, the field, and what to do."""
    done = cli("push", str(write(tmp_path / "p", {**CHAT, **config})), "-o", "json")
    error = json.loads(done.out)["error"]
    assert (done.code, cluster.changes) == (4, [])
    assert error["field"].partition(".")[0] in config
    assert says in error["message"]


def test_a_tensorrt_decoder_is_refused_with_the_command_that_serves_it(cli: Run, tmp_path: Path) -> None:
    """The same model, by our engines, on as many GPUs."""
    source = {"source": "HF", "repo": "meta-llama/Llama-3.1-8B-Instruct"}
    build = {"base_model": "decoder", "checkpoint_repository": source, "tensor_parallel_count": 2, "max_seq_len": 8192}
    done = cli("push", str(write(tmp_path / "p", {**CHAT, "trt_llm": {"build": build}})))
    assert done.code == 4
    command = "kubectl llama push --model meta-llama/Llama-3.1-8B-Instruct --gpu A100:2"
    assert f"{command} --set engine.maxContextTokens=8192" in done.err


def test_what_is_ignored_is_said_by_name(cli: Run, tmp_path: Path) -> None:
    """On standard error, and in the JSON."""
    config = {**CHAT, "runtime": {"enable_tracing_data": True}}
    done = cli("push", str(write(tmp_path / "p", config)), "--no-wait", "-o", "json")
    assert [row["field"] for row in json.loads(done.out)["ignored"]] == ["runtime.enable_tracing_data"]
    assert "ignored: runtime.enable_tracing_data" in done.err


def test_a_package_that_is_too_large_is_refused(cli: Run, cluster: MemoryCluster, chat: Path) -> None:
    """With its size and the way out."""
    import random  # noqa: PLC0415

    (chat / "data").mkdir()
    (chat / "data" / "weights").write_bytes(random.Random(0).randbytes(1_000_000))  # noqa: S311
    done = cli("push", str(chat))
    assert (done.code, cluster.changes) == (4, [])
    assert "spec.package.claim" in done.err


def test_a_new_package_is_one_that_can_be_pushed(cli: Run, cluster: MemoryCluster, tmp_path: Path) -> None:
    """init, then push, without a word in between."""
    folder = tmp_path / "hello"
    assert cli("init", str(folder)).code == 0
    done = cli("push", str(folder), "--no-wait")
    assert done.code == 0, done.err
    assert "warning" not in done.err
    assert pushed(cluster)[1]["metadata"]["name"] == "hello"
    assert cli("init", str(folder)).code == 4


def test_manifests_are_what_push_would_apply(cli: Run, cluster: MemoryCluster, chat: Path) -> None:
    """For those who apply by other means."""
    documents = list(yaml.safe_load_all(cli("import-truss", str(chat)).out))
    cli("push", str(chat), "--no-wait")
    assert tuple(documents) == pushed(cluster)


STREAMS = """
class Model:
    def predict(self, request):
        def inner():
            yield "a"
        return inner()

    def postprocess(self, answer):
        return answer
"""


@pytest.mark.parametrize(
    ("source", "line", "says"),
    [
        ("class Model:\n    def load(self): pass\n", 1, "no predict"),
        ("class Modell:\n    def predict(self, x): pass\n", 1, "no class Model"),
        ("class Model:\n    def predict(self, a, b): pass\n", 2, "no fastapi.Request"),
        ("class Model:\n    def predict(self, a, b: Request, c): pass\n", 2, "takes 3 arguments"),
        ("class Model:\n    def predict(self x): pass\n", 2, "is no Python"),
        (STREAMS, 3, "postprocess"),
        (MODEL.replace("hf_access_token", "hf_token"), 7, "reads the secret hf_token"),
        (MODEL.replace('self._secrets["hf_access_token"]', 'kwargs["secrets"].get("x")'), 7, "reads the secret x"),
    ],
)
def test_faults_of_the_code_are_found_without_running_it(source: str, line: int, says: str) -> None:
    """By file and line."""
    faults = model_code.read(source, {}, ["hf_access_token"])
    assert [(row.file, row.line) for row in faults] == [("model/model.py", line)]
    assert says in faults[0].words


@pytest.mark.parametrize(
    "source",
    [
        MODEL,
        "class Model:\n    def predict(self, x, request: fastapi.Request): pass\n",
        "class Model:\n    async def websocket(self, ws): pass\n",
        "from .other import Model\n",
        "class Model(Base):\n    pass\n",
        "class Model:\n    def predict(self, x):\n        yield x\n",
    ],
)
def test_code_that_runs_has_no_fault(source: str) -> None:
    """What truss takes is not complained of."""
    assert model_code.read(source, {}, ["hf_access_token"]) == []


def test_push_warns_of_faults_in_the_code(cli: Run, tmp_path: Path) -> None:
    """The seed's own mistake: a secret that is read under another name than it is declared."""
    done = cli("push", str(write(tmp_path / "p", CHAT, MODEL.replace("hf_access", "hf_my"))), "--no-wait")
    assert "warning: model/model.py:7 reads the secret hf_my_token" in done.err
