"""What serves a model where there is no outside world: our images, the test Hub, the operator by its chart."""

import json
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.support import hub_pod
from tests.support.cluster import Namespace, eventually, kubeconfig
from tests.support.hub.remote import RemoteHub
from tests.support.kubectl import kubectl_ok
from tools.generate import CHART, NAMESPACE, ROOT
from tools.helm import helm

HUB_NAMESPACE: Final = "llama-hub"
RELEASE: Final = "llama-operator"
RESTRICTED: Final = {"pod-security.kubernetes.io/enforce": "restricted"}


@cache
def images() -> dict[str, str]:
    """The images that `devcluster build` makes of the present tree: operator, inference, builder, index, hub."""
    command = [Path(sys.executable).with_name("devcluster"), "images"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def namespace(name: str, labels: Mapping[str, str]) -> None:
    """Create a namespace, or give it these labels."""
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels)}})


def apply(*objects: Mapping[str, Any]) -> None:
    """Create or change objects."""
    kubectl_ok("apply", "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": list(objects)})


@contextmanager
def restricted_namespace() -> Generator[Namespace]:
    """A fresh namespace that admits pods of the restricted level only; deleted at the end."""
    space = Namespace.create()
    namespace(space.name, RESTRICTED)
    try:
        yield space
    finally:
        space.delete()


def start_hub(models: Path, config: Mapping[str, Any]) -> RemoteHub:
    """Run the test Hub in the cluster, and return it as it is steered from this machine."""
    namespace(HUB_NAMESPACE, {})
    apply(*hub_pod.objects(HUB_NAMESPACE, images()["hub"], models, config))
    here = ("--namespace", HUB_NAMESPACE)
    kubectl_ok(*here, "rollout", "status", f"deployment/{hub_pod.NAME}", "--timeout=50s")
    address = kubectl_ok(*here, "get", "service", hub_pod.NAME, "-o", "jsonpath={.spec.clusterIP}")
    return RemoteHub(f"http://{address}")


def hub_endpoint() -> str:
    """Where pods find the test Hub."""
    return f"http://{hub_pod.NAME}.{HUB_NAMESPACE}.svc"


def install_operator(
    *, hub: str | None, operator: str, inference: str, builder: str | None = None, python: str | None = None
) -> None:
    """Install the chart, or upgrade it to these images and this Hub; returns once the operator leads.

    `builder` makes environments of packages, which run in `python`.
    """
    namespace(NAMESPACE, RESTRICTED)
    _helm(
        *("upgrade", "--install", RELEASE, str(ROOT / CHART)),
        *("--wait", "--timeout", "90s"),
        "--force-conflicts",  # tests without the chart have applied the definition by hand
        *_image("image", operator),
        *_image("inference.image", inference),
        *(_image("package.builder.image", builder) if builder else ()),
        *(("--set-string", rf"package.images.3\.11={python}") if python else ()),
        *(("--set", f"hub.endpoint={hub}") if hub else ()),
        *("--set", "stallSeconds=3"),
    )
    eventually("the operator leads", _leader, seconds=30)


def _image(value: str, reference: str) -> tuple[str, ...]:
    repository, _, tag = reference.rpartition(":")
    return "--set", f"{value}.repository={repository}", "--set-string", f"{value}.tag={tag}"


def _leader() -> bool:
    """Whether a pod that is there holds the Lease; one that was uninstalled may still be named in it."""
    here = ("--namespace", NAMESPACE, "get")
    holder = kubectl_ok(*here, "lease", RELEASE, "--ignore-not-found", "-o", "jsonpath={.spec.holderIdentity}")
    pods = kubectl_ok(*here, "pods", "-o", "jsonpath={.items[*].metadata.name}").split()
    return any(holder.startswith(f"{pod}_") for pod in pods)


def operator_metrics() -> str:
    """What the operator's pod exposes at /metrics."""
    label = "--selector=app.kubernetes.io/name=llama-operator"
    pod = kubectl_ok("--namespace", NAMESPACE, "get", "pods", label, "-o", "jsonpath={.items[0].metadata.name}")
    return kubectl_ok("get", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}:8080/proxy/metrics")


def uninstall_operator() -> None:
    """Uninstall the chart; the LlamaDeployments and their definition stay."""
    _helm("uninstall", RELEASE, "--wait", "--timeout", "60s")


def _helm(*arguments: str) -> str:
    return helm(*arguments, "--namespace", NAMESPACE, "--kubeconfig", str(kubeconfig()))
