"""plan: what a push would create, what preflight says of it, whether there is room, and what it costs."""

import base64
import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from kubectl_llama.edge.kinds import CLAIM, CONFIG_MAP, DEPLOYMENT, NODE, POD, SECRET, SERVICE, STORAGE_CLASS, Kind
from kubectl_llama.edge.kube import Object
from kubectl_llama.errors import ClusterError
from llama_operator.names import API_VERSION, KIND
from tests.kubectl_llama.conftest import Run
from tests.support.cli_cluster import MemoryCluster

pytestmark = pytest.mark.slow  # whole commands, with all that they import

PLAN = ("plan", "--model", "org/seventy", "--gpu", "A100:2", "-o", "json")
HUB = "http://hub.models.svc"
TOKEN = "hf_TheTokenOfTheReader"


def a_node(name: str = "gpu-1", *, gpus: int = 8, product: str = "NVIDIA-A100-SXM4-80GB") -> dict[str, Any]:
    """A node with GPUs."""
    has = {"cpu": "64", "memory": "512Gi", "pods": "110", **({"nvidia.com/gpu": str(gpus)} if gpus else {})}
    labels = {"nvidia.com/gpu.product": product, "nvidia.com/gpu.memory": "81920"} if gpus else {}
    return {"metadata": {"name": name, "labels": labels}, "spec": {}, "status": {"allocatable": has}}


def holder(name: str, gpus: int, node: str = "gpu-1") -> dict[str, Any]:
    """A pod of somebody else that holds GPUs."""
    limits = {"limits": {"nvidia.com/gpu": str(gpus)}}
    return {
        "metadata": {"name": name, "namespace": "other"},
        "spec": {"nodeName": node, "containers": [{"name": "x", "resources": limits}]},
        "status": {"phase": "Running"},
    }


def the_hub(request: BaseHTTPRequestHandler) -> None:
    """A Hub with one gated model of seventy billion parameters."""
    commit = "a" * 40
    shape = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "hidden_size": 8192,
        "max_position_embeddings": 4096,
        "torch_dtype": "float16",
    }
    listing = {
        "sha": commit,
        "gated": "manual",
        "safetensors": {"parameters": {"F16": 68_976_648_192}},
        "siblings": [
            {"rfilename": "model.safetensors", "size": 137_953_296_384},
            {"rfilename": "config.json"},
            {"rfilename": "tokenizer.json"},
        ],
    }
    known = request.headers.get("Authorization") == f"Bearer {TOKEN}"
    body = json.dumps(shape if request.path.endswith("config.json") else listing).encode()
    request.send_response(200 if known else 401)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


@pytest.fixture
def offered(cluster: MemoryCluster) -> MemoryCluster:
    """A node of eight A100s, a storage class, an operator with a Hub in the cluster, and the token for it."""
    cluster.add(NODE, a_node())
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    cluster.add(STORAGE_CLASS, {"metadata": {"name": "standard", "annotations": default}})
    env = [{"name": "LLAMA_OPERATOR_HUB_ENDPOINT", "value": HUB}]
    pod = {"spec": {"template": {"spec": {"containers": [{"name": "operator", "env": env}]}}}}
    labels = {"app.kubernetes.io/name": "llama-operator"}
    cluster.add(DEPLOYMENT, {"metadata": {"name": "operator", "namespace": "system", "labels": labels}, **pod})
    ports = [{"port": 80, "targetPort": "http"}]
    cluster.add(
        SERVICE,
        {"metadata": {"name": "hub", "namespace": "models"}, "spec": {"selector": {"app": "hub"}, "ports": ports}},
    )
    named = [{"name": "http", "containerPort": 8000}]
    cluster.add(
        POD,
        {
            "metadata": {"name": "hub-1", "namespace": "models", "labels": {"app": "hub"}},
            "spec": {"containers": [{"name": "hub", "ports": named}]},
            "status": {"phase": "Running"},
        },
    )
    cluster.answers["hub-1"] = the_hub
    give_token(cluster, TOKEN)
    return cluster


def give_token(cluster: MemoryCluster, token: str) -> None:
    """Write the Secret with the Hub token."""
    data = {"hf_access_token": base64.b64encode(token.encode()).decode()}
    cluster.add(SECRET, {"metadata": {"name": "hf-access-token", "namespace": "default"}, "data": data})


def planned(cli: Run, *flags: str, code: int = 0) -> dict[str, Any]:
    """What plan prints."""
    done = cli(*PLAN, *flags)
    assert done.code == code, done.err
    return json.loads(done.out)


@pytest.mark.usefixtures("offered")
def test_the_memory_is_told_with_its_numbers(cli: Run) -> None:
    """Weights, KV cache and overhead beside what the GPUs have, as the Hub describes the model."""
    checks = {row["name"]: row for row in planned(cli)["checks"]}
    assert checks["Memory"]["state"] == "passed"
    assert "weights 128.5 GiB" in checks["Memory"]["message"]
    assert "2 GPUs with 80.0 GiB each" in checks["Memory"]["message"]


@pytest.mark.usefixtures("offered")
def test_a_model_that_does_not_fit_ends_with_4(cli: Run) -> None:
    """One GPU is too few: the number that would do is named, and nothing was created."""
    done = cli("plan", "--model", "org/seventy", "--gpu", "A100:1")
    assert done.code == 4
    assert "✗ Memory" in done.out
    assert "spec.resources.gpu.count to 2" in done.err


def test_what_would_be_created_is_listed_and_is_not(cli: Run, offered: MemoryCluster) -> None:
    """By the operator's own plan."""
    kinds = [row["kind"] for row in planned(cli)["creates"]]
    assert {"Deployment", "Service", "PersistentVolumeClaim", "ServiceAccount"} <= set(kinds)
    assert offered.changes == []


@pytest.mark.usefixtures("offered")
def test_an_hour_costs_what_its_gpus_cost(cli: Run) -> None:
    """By --gpu-hour-price, or by the price that the spec has; without one the GPU-hours."""
    assert planned(cli)["costPerHour"] is None
    assert planned(cli, "--gpu-hour-price", "3.5")["costPerHour"] == 7
    assert planned(cli, "--set", "cost.pricePerGpuHour=2", "--set", "replicas=2")["costPerHour"] == 8


@pytest.mark.usefixtures("offered")
def test_there_is_room_now(cli: Run) -> None:
    """Nothing else holds the GPUs."""
    assert planned(cli)["room"]["when"] == "now"


def test_there_is_room_once_others_have_stopped(cli: Run, offered: MemoryCluster) -> None:
    """The node would do and is taken: how many fit, and what the next one lacks."""
    offered.add(POD, holder("theirs", 5))
    room = planned(cli, "--set", "replicas=2")["room"]
    assert room["when"] == "later"
    assert "1 of 2 find room" in room["why"]
    assert "1 of 2 nvidia.com/gpu left" in room["why"]


def test_a_pool_at_zero_is_later(cli: Run, offered: MemoryCluster) -> None:
    """Where something adds nodes, a node that is not there yet is no refusal."""
    offered.add(NODE, a_node(gpus=0))
    assert planned(cli, code=4)["room"]["when"] == "never"
    offered.add(CONFIG_MAP, {"metadata": {"name": "cluster-autoscaler-status", "namespace": "kube-system"}})
    room = planned(cli, "--set", "preflight.mode=warn")["room"]
    assert room["when"] == "later"
    assert "autoscaler" in room["why"]


def test_a_product_that_no_node_has_is_never(cli: Run, offered: MemoryCluster) -> None:
    """The products that there are stand in the sentence."""
    room = planned(cli, "--set", "resources.gpu.product=H100", code=4)["room"]
    assert room["when"] == "never"
    assert "NVIDIA-A100-SXM4-80GB" in room["why"]


def test_a_wrong_token_is_found_before_anything_is_created(cli: Run, offered: MemoryCluster) -> None:
    """And is not shown."""
    give_token(offered, "hf_NobodyKnowsThis")
    done = cli(*PLAN)
    assert done.code == 4
    assert json.loads(done.out)["error"]["code"] == "TokenRejected"
    assert "NobodyKnows" not in done.out + done.err


def test_a_hub_that_only_the_cluster_reaches_is_no_refusal(cli: Run, offered: MemoryCluster) -> None:
    """From here it does not answer; what it alone knows is left out, and said to be."""
    del offered.answers["hub-1"]
    done = cli("plan", "--model", "org/seventy", "--gpu", "A100:2")
    assert done.code == 0
    assert "? Model        the Hub at http://hub.models.svc does not answer from here" in done.out


@pytest.mark.usefixtures("offered")
def test_no_hub_asks_none(cli: Run) -> None:
    """What it alone knows is then left out."""
    names = {row["name"] for row in planned(cli, "--no-hub")["checks"]}
    assert "Node" in names
    assert "Memory" not in names


def test_a_packages_secrets_room_and_code_are_looked_at(cli: Run, offered: MemoryCluster, tmp_path: Path) -> None:
    """No Hub is asked; its Secret is missing, and its code reads one that it does not declare."""
    (tmp_path / "model").mkdir()
    source = "class Model:\n    def predict(self, x):\n        return self._secrets['other']\n"
    (tmp_path / "model" / "model.py").write_text(source)
    (tmp_path / "config.yaml").write_text(
        "model_name: chat\nsecrets: {mine: null}\nresources: {accelerator: 'A100:2'}\n"
    )
    done = cli("plan", str(tmp_path), "-o", "json")
    shown = json.loads(done.out)
    assert (done.code, shown["error"]["code"]) == (4, "SecretNotFound")
    assert {"Deployment", "Service", "ConfigMap", "PersistentVolumeClaim"} <= {row["kind"] for row in shown["creates"]}
    assert (shown["room"]["when"], shown["gpus"]) == ("now", 2)
    assert "warning: model/model.py:3 reads the secret other" in done.err
    offered.add(SECRET, {"metadata": {"name": "package-secrets", "namespace": "default"}, "data": {"mine": "eA=="}})
    assert cli("plan", str(tmp_path)).code == 0


@pytest.mark.parametrize("allowed", [False, True])
def test_a_volume_that_may_not_be_read_holds_no_plan_up(
    cli: Run, offered: MemoryCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, allowed: bool
) -> None:
    """It may be there; one that surely is not is refused."""
    get = offered.get

    def guarded(kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        if kind == CLAIM and not allowed:
            raise ClusterError("may not get persistentvolumeclaims", code="Forbidden")
        return get(kind, name, namespace)

    monkeypatch.setattr(offered, "get", guarded)
    file = tmp_path / "llama.yaml"
    model = {"source": "pvc", "repo": "org/seventy", "claim": {"name": "models"}}
    body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "x"}, "spec": {"model": model}}
    file.write_text(json.dumps(body))
    done = cli("plan", "-f", str(file), "-o", "json")
    assert done.code == (4 if allowed else 0), done.err
