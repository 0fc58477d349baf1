"""The chart as Helm renders it: what values do, and which ones are refused."""

import json
from typing import Any

import pytest
import yaml

from llama_operator.cluster.permissions import PERMISSIONS
from tests.support.kubectl import kubectl
from tools.generate import ROOT
from tools.helm import helm

CHART = ROOT / "charts" / "llama-operator"
WHERE_SERVED = ("namespaced", "watchSecrets", "apiKeys", "gateway")
"""The groups of rules that hold where LlamaDeployments are."""
pytestmark = pytest.mark.cluster  # the cluster's build brings helm


def render(**values: Any) -> list[dict[str, Any]]:
    """Render the chart with values, each given as JSON."""
    settings = [f"--set-json={name.replace('__', '.')}={json.dumps(value)}" for name, value in values.items()]
    text = helm("template", "llama-operator", str(CHART), "--namespace", "system", *settings)
    return [doc for doc in yaml.safe_load_all(text) if doc]


def of_kind(documents: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The documents of one kind."""
    return [doc for doc in documents if doc["kind"] == kind]


def container(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """The operator's container."""
    return of_kind(documents, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]


def environment(documents: list[dict[str, Any]]) -> dict[str, str]:
    """The operator's settings that are plain values."""
    return {row["name"]: row["value"] for row in container(documents)["env"] if "value" in row}


def test_the_chart_passes_helms_own_checks() -> None:
    """`helm lint` has nothing to say, not even a warning."""
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"image__pullPolicy": "Sometimes"}, "pullPolicy"),
        ({"replicas": "two"}, "replicas"),
        ({"watchNamespaces": "default"}, "watchNamespaces"),
        ({"hub__endpont": "https://hub.example"}, "endpont"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(values: dict[str, Any], named: str) -> None:
    """The schema catches wrong types, wrong words and misspelt names before anything reaches the cluster."""
    with pytest.raises(RuntimeError, match=named):
        render(**values)


def test_every_value_is_described() -> None:
    """A value without a description in the schema is one that nobody can look up."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(values) == set(schema["properties"]) - {"global"}  # Helm hands that one to every chart
    fields = {name: field for name, field in schema["properties"].items() if name in values}
    for name, field in fields.items():
        described = {name: field, **{f"{name}.{key}": inner for key, inner in field.get("properties", {}).items()}}
        assert [path for path, part in described.items() if not part.get("description")] == []


def test_without_namespaces_the_operator_serves_all_of_them() -> None:
    """One ClusterRole holds every rule, and no namespace is named."""
    documents = render()
    role = next(doc for doc in of_kind(documents, "ClusterRole") if doc["metadata"]["name"] == "llama-operator")
    assert role["rules"] == [rule for name in ("cluster", *WHERE_SERVED) for rule in PERMISSIONS[name]]
    assert environment(documents)["LLAMA_OPERATOR_WATCH_NAMESPACES"] == "[]"


def test_with_namespaces_the_operator_may_act_in_these_only() -> None:
    """Each gets a Role; the ClusterRole keeps what concerns nodes."""
    documents = render(watchNamespaces=["one", "two"])
    role = next(doc for doc in of_kind(documents, "ClusterRole") if doc["metadata"]["name"] == "llama-operator")
    assert role["rules"] == PERMISSIONS["cluster"]
    rules = [rule for name in WHERE_SERVED for rule in PERMISSIONS[name]]
    roles = [doc for doc in of_kind(documents, "Role") if doc["rules"] == rules]
    assert [role["metadata"]["namespace"] for role in roles] == ["one", "two"]
    assert json.loads(environment(documents)["LLAMA_OPERATOR_WATCH_NAMESPACES"]) == ["one", "two"]


def test_without_api_keys_the_operator_lists_and_writes_no_secret() -> None:
    """Whoever does not use them keeps the rights that they take."""
    for namespaces in ([], ["one"]):
        documents = render(watchNamespaces=namespaces, apiKeys__enabled=False)
        rules = [rule for kind in ("Role", "ClusterRole") for doc in of_kind(documents, kind) for rule in doc["rules"]]
        assert [rule["verbs"] for rule in rules if "secrets" in rule["resources"]] == [["get"], ["watch"]]


def test_a_waiting_operator_may_be_kept_from_watching_secrets() -> None:
    """The right to watch one that is not there yet is that to all of them."""
    for namespaces in ([], ["one"]):
        documents = render(watchNamespaces=namespaces, preflight__watchSecrets=False, apiKeys__enabled=False)
        rules = [rule for kind in ("Role", "ClusterRole") for doc in of_kind(documents, kind) for rule in doc["rules"]]
        assert [rule["verbs"] for rule in rules if "secrets" in rule["resources"]] == [["get"]]


def test_without_gateways_the_operator_writes_no_role_and_leases_only_to_lead() -> None:
    """Whoever lets no model sleep keeps the rights that it takes, and the operator is told."""
    assert environment(render())["LLAMA_OPERATOR_GATEWAY_ENABLED"] == "true"
    for namespaces in ([], ["one"]):
        documents = render(watchNamespaces=namespaces, gateway__enabled=False)
        assert environment(documents)["LLAMA_OPERATOR_GATEWAY_ENABLED"] == "false"
        rules = [rule for kind in ("Role", "ClusterRole") for doc in of_kind(documents, kind) for rule in doc["rules"]]
        assert not [rule for rule in rules if "rbac.authorization.k8s.io" in rule["apiGroups"]]
        leadership = [rule for rule in PERMISSIONS["leadership"] if "leases" in rule["resources"]]
        assert [rule for rule in rules if "leases" in rule["resources"]] == leadership


def test_the_crd_can_be_left_to_somebody_else() -> None:
    """Some clusters install definitions apart from charts."""
    assert len(of_kind(render(), "CustomResourceDefinition")) == 1
    assert of_kind(render(crds__install=False), "CustomResourceDefinition") == []


def test_uninstalling_keeps_the_crd_and_with_it_every_llamadeployment() -> None:
    """Deleting a definition deletes all its resources: that is never a side effect, unless asked for."""
    kept = of_kind(render(), "CustomResourceDefinition")[0]["metadata"]
    assert kept["annotations"] == {"helm.sh/resource-policy": "keep"}
    free = of_kind(render(crds__keep=False), "CustomResourceDefinition")[0]["metadata"]
    assert "annotations" not in free


def test_images_take_the_charts_version_unless_a_tag_is_given() -> None:
    """Operator and server of one release belong together."""
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    plain, tagged = render(), render(image__tag="dev", inference__image__tag="gpu")
    assert container(plain)["image"] == f"llama-operator/llama-operator:{version}"
    assert environment(plain)["LLAMA_OPERATOR_INFERENCE_IMAGE"] == f"llama-operator/llama-inference:{version}"
    assert container(tagged)["image"] == "llama-operator/llama-operator:dev"
    assert environment(tagged)["LLAMA_OPERATOR_INFERENCE_IMAGE"] == "llama-operator/llama-inference:gpu"


def test_a_hub_mirror_reaches_the_operator() -> None:
    """And the public Hub is not written down: it is the server's own default."""
    assert "LLAMA_OPERATOR_HUB_ENDPOINT" not in environment(render())
    mirrored = render(hub__endpoint="https://hub.example")
    assert environment(mirrored)["LLAMA_OPERATOR_HUB_ENDPOINT"] == "https://hub.example"


@pytest.mark.parametrize(("values", "setting"), [({}, "false"), ({"nodesOnDemand": True}, "true")])
def test_nodes_that_come_on_demand_are_a_setting_of_the_operator(values: dict[str, Any], setting: str) -> None:
    """Off unless said: most clusters have the nodes that they will have."""
    assert environment(render(**values))["LLAMA_OPERATOR_NODES_ON_DEMAND"] == setting


def test_a_service_monitor_of_the_operators_metrics_is_there_when_asked_for() -> None:
    """With the Service that it reads: its labels and port fit, and it selects the operator's pods."""
    assert of_kind(render(), "ServiceMonitor") == of_kind(render(), "Service") == []
    wanted = {"enabled": True, "interval": "10s", "labels": {"release": "prometheus"}}
    documents = render(metrics__serviceMonitor=wanted)
    (monitor,), (service,) = of_kind(documents, "ServiceMonitor"), of_kind(documents, "Service")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,), (port,) = monitor["spec"]["endpoints"], service["spec"]["ports"]
    assert endpoint == {"port": port["name"], "path": "/metrics", "interval": "10s"}
    pod = of_kind(documents, "Deployment")[0]["spec"]["template"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert port["targetPort"] in [row["name"] for row in container(documents)["ports"]]


def test_the_api_server_takes_the_plain_manifest() -> None:
    """A field that does not exist is an error, not a warning."""
    documents = [doc for doc in yaml.safe_load_all((ROOT / "manifests" / "install.yaml").read_text()) if doc]
    for document in documents:
        if "namespace" in document["metadata"]:
            document["metadata"]["namespace"] = "default"  # its own does not exist in a dry run
    objects = {"apiVersion": "v1", "kind": "List", "items": documents}
    strictly = ("--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts")
    done = kubectl("apply", *strictly, "-f", "-", stdin=objects)
    assert done.returncode == 0, done.stderr
