"""The environment of a package: a volume for all that want the same, and the Job that makes it, before any GPU.

The volume is shared as a cache is (`plan.sharing`). The Job is one LlamaDeployment's own, one for each content of its
package: it makes the environment if nobody has, and lays the package out beside it. Pods mount the volume read only.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from llama_operator import names
from llama_operator.plan import sharing
from llama_operator.plan.diff import digest, stamped
from llama_operator.plan.objects import metadata
from llama_operator.plan.observed import Object, Observed
from llama_operator.plan.package import Resolved, of
from llama_operator.plan.settings import PlanSettings
from llama_operator.spec.model import LlamaDeploymentSpec

SIZE: Final = "10Gi"
"""Room for torch with its CUDA libraries, and as much again while they are unpacked."""
VOLUME: Final = "environment"
SOURCE_DIR: Final = "/package"
WORK_DIR: Final = "/work"
WHEELHOUSE_DIR: Final = "/wheelhouse"

_NEVER: Final = 2**31 - 1
_KEPT: Final = ("imagePullSecrets", "securityContext", "nodeSelector", "tolerations", "affinity", "priorityClassName")


def claim_name(package: Resolved) -> str | None:
    """Return the PVC that a package's environment is on; None where its image has it."""
    return names.environment_claim(package.environment_key) if package.environment_key else None


def parts(
    spec: LlamaDeploymentSpec, seen: Observed, package: Resolved, template: Object, settings: PlanSettings
) -> Iterator[dict[str, Any]]:
    """Yield the volume of a package's environment and the Job that makes it; nothing where its image has it."""
    name = claim_name(package)
    if name is None:
        return
    yield sharing.volume(spec.cache, seen, name, content=f"environment {package.environment_key}", size=SIZE)
    if found := job(seen, package, template, settings):
        yield stamped(found)


def job(seen: Observed, package: Resolved, template: Object, settings: PlanSettings) -> dict[str, Any] | None:
    """Return the Job, made of the serving pods' `template`; None before the volume is there, or without one."""
    claim = claim_name(package)
    live = seen.children.get(sharing.claim_ref(claim)) if claim else None
    if claim is None or live is None or not sharing.is_shared(live) or "deletionTimestamp" in live["metadata"]:
        return None
    pod = {
        "metadata": {"labels": names.environment_labels(seen.key.name)},
        "spec": _pod(package, claim, template["spec"], settings),
    }
    name = names.environment_job(seen.key.name, digest([seen.key.name, pod]))
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(seen.key, name, owner=seen.body),
        "spec": {"backoffLimit": _NEVER, "template": pod},
    }


def _pod(package: Resolved, claim: str, serving: Object, settings: PlanSettings) -> dict[str, Any]:
    """Return a pod that may run wherever the serving pods may, under the same limits, without a GPU."""
    server = next(row for row in serving["containers"] if row["name"] == names.CONTAINER)
    same = {name: server[name] for name in ("imagePullPolicy", "securityContext", "terminationMessagePolicy")}
    work = {"name": "work", "mountPath": WORK_DIR}
    tmp = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108  (the pod's own)
    source = SOURCE_DIR if package.claim else f"{SOURCE_DIR}/package.tgz"
    if package.claim and package.claim.path:
        source = f"{SOURCE_DIR}/{package.claim.path}"
    lay_out = {
        "name": names.LAY_OUT,
        "image": settings.packages.builder_image,
        # The package's uv is that of the image, so that a tag decides over both.
        "command": ["/bin/sh", "-c", _LAY_OUT, "lay-out", source, WORK_DIR],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
        **same,
        "volumeMounts": [{"name": "source", "mountPath": SOURCE_DIR, "readOnly": True}, work, tmp],
    }
    mounts = [{"name": VOLUME, "mountPath": names.ENVIRONMENT_DIR}, {**work, "readOnly": True}, tmp]
    if settings.packages.wheelhouse_claim:
        mounts.append({"name": "wheelhouse", "mountPath": WHEELHOUSE_DIR, "readOnly": True})
    # It has the server's name, for it answers as the server does: nobody asks it, so it is never ready.
    install = {
        "name": names.CONTAINER,
        "image": package.runs_in,
        "command": [package.executable or "python3", f"{WORK_DIR}/bin/environment.py"],
        "args": _arguments(package, settings),
        "env": [row for row in server.get("env", ()) if not row["name"].startswith("LLAMA_INFERENCE_")],
        "ports": server["ports"],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
        "startupProbe": server["startupProbe"],
        "readinessProbe": server["readinessProbe"],
        **same,
        "volumeMounts": mounts,
    }
    return {
        **{name: serving[name] for name in _KEPT if name in serving},
        "restartPolicy": "OnFailure",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 10,
        "initContainers": [lay_out],
        "containers": [install],
        "volumes": _volumes(package, claim, settings),
    }


_LAY_OUT: Final = 'exec python3 -W ignore -m llama_packages.builder.lay_out "$@" "$(command -v uv)"'


def _arguments(package: Resolved, settings: PlanSettings) -> list[str]:
    found = [WORK_DIR, names.ENVIRONMENT_DIR, package.content]
    if index := package.index_url or settings.packages.index_url:
        found += ["--index-url", index]
    if settings.packages.wheelhouse_claim:
        found += ["--find-links", WHEELHOUSE_DIR]
    if package.own_base:
        found.append("--system-site-packages")
    return found


def _volumes(package: Resolved, claim: str, settings: PlanSettings) -> list[dict[str, Any]]:
    source: dict[str, Any] = {"configMap": {"name": package.config_map}}
    if package.claim:
        source = {"persistentVolumeClaim": {"claimName": package.claim.name, "readOnly": True}}
    found = [
        {"name": "source", **source},
        {"name": VOLUME, "persistentVolumeClaim": {"claimName": claim}},
        {"name": "work", "emptyDir": {}},
        {"name": "tmp", "emptyDir": {}},
    ]
    if wheels := settings.packages.wheelhouse_claim:
        found.append({"name": "wheelhouse", "persistentVolumeClaim": {"claimName": wheels, "readOnly": True}})
    return found


def waits(spec: LlamaDeploymentSpec, seen: Observed, made: Mapping[str, Any] | None) -> bool:
    """Whether pods have to wait for the Job `made`; None where it is not there yet."""
    package = of(spec)
    if package is None or package.environment_key is None:
        return False
    return made is None or not sharing.is_complete(seen.children.get(sharing.job_ref(made["metadata"]["name"])))
