"""The Hub's objects for a cluster agree with each other and with the server that runs in them."""

import json
from pathlib import Path
from typing import Any

from huggingface_hub.utils import get_session

from tests.hub.conftest import REPO
from tests.support.hub import HubServer
from tests.support.hub.config import apply
from tests.support.hub_pod import objects

CONFIG = {"repos": [{"name": REPO, "path": "."}], "tokens": [{"token": "hf_a", "account": "a"}]}


def built(models: Path, config: dict[str, Any] = CONFIG) -> dict[str, dict[str, Any]]:
    """The objects by their kind."""
    return {found["kind"]: found for found in objects("hub-1", "hub:1", models, config)}


def template(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The Deployment's pod template."""
    return found["Deployment"]["spec"]["template"]


def test_all_objects_live_in_the_namespace(tmp_path: Path) -> None:
    """So that deleting it leaves nothing."""
    assert {found["metadata"]["namespace"] for found in built(tmp_path).values()} == {"hub-1"}


def test_the_service_and_the_deployment_find_the_pod(tmp_path: Path) -> None:
    """Their selectors are its labels; the port's name is the container's."""
    found = built(tmp_path)
    labels = template(found)["metadata"]["labels"]
    service = found["Service"]["spec"]
    assert service["selector"] == found["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    [container] = template(found)["spec"]["containers"]
    assert [port["targetPort"] for port in service["ports"]] == [port["name"] for port in container["ports"]]


def test_the_mounted_configuration_is_one_that_the_server_takes(folder: Path) -> None:
    """Paths in it start from the models folder; the probe's page is there."""
    found = built(folder)
    [container] = template(found)["spec"]["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    [name] = found["ConfigMap"]["data"]
    assert container["args"] == ["--config", f"{mounts['config']}/{name}"]
    with HubServer(folder) as hub:
        apply(hub, json.loads(found["ConfigMap"]["data"][name]))
        assert list(hub.repos) == [REPO]
        assert get_session().get(hub.url + container["readinessProbe"]["httpGet"]["path"]).status_code == 200


def test_another_configuration_is_another_pod(tmp_path: Path) -> None:
    """The server reads it once; the same one leaves the pod as it is."""
    assert template(built(tmp_path)) == template(built(tmp_path))
    assert template(built(tmp_path)) != template(built(tmp_path, {"repos": []}))


def test_the_pod_asks_for_no_privilege_but_the_folder(tmp_path: Path) -> None:
    """Restricted in all but the hostPath, which it cannot write."""
    pod = template(built(tmp_path))["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all(mount["readOnly"] for mount in container["volumeMounts"])
    assert pod["automountServiceAccountToken"] is False
