"""What a package adds to the pod: its own container beside the server, the files that both exchange, its secrets.

The genuine server listens on a socket in a folder of the pod, so that nobody gets past the server in front and its
keys. What runs it comes out of the server's image, and needs nothing but a Python.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from llama_operator import names
from llama_operator.names import Env
from llama_operator.plan.environment import VOLUME, claim_name
from llama_operator.plan.package import Resolved
from llama_operator.plan.settings import PlanSettings
from llama_operator.spec.model import LlamaDeploymentSpec

SECRETS_DIR: Final = "/secrets"
RUN: Final = "package-run"
_PROGRAMS: Final = f"{names.PACKAGE_RUN_DIR}/bin"
_VENV: Final = f"{names.ENVIRONMENT_DIR}/venv"
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_START: Final = f'exec "${{PYTHON_EXECUTABLE:-python3}}" {_PROGRAMS}/llama_package'
_APP, _PACKAGES, _SECRETS, _TMP, _SHM = "package-app", "package-packages", "package-secrets", "package-tmp", "shm"


def instead(values: Mapping[Env, str | None], package: Resolved) -> dict[Env, str | None]:
    """Return what the server is told, with its package in place of a model and of how that generates."""
    found = {
        **{name: value for name, value in values.items() if name in _OF_BOTH},
        Env.PACKAGE_DIR: names.PACKAGE_RUN_DIR,
        Env.PACKAGE_DIGEST: package.content,
        Env.PACKAGE_CONCURRENCY: str(package.concurrency),
    }
    return {**found, Env.PACKAGE_DEVELOPMENT: "true"} if package.development else found


_OF_BOTH: Final = frozenset(
    {
        Env.MODEL,
        Env.REVISION,
        Env.SERVED_NAME,
        Env.BACKEND,
        Env.MAX_QUEUE,
        Env.DRAIN_SECONDS,
        Env.GOLDEN_PROMPTS,
        Env.API_KEYS_DIR,
    }
)


def server_mounts() -> list[dict[str, Any]]:
    """Return where the server meets its package."""
    return [{"name": RUN, "mountPath": names.PACKAGE_RUN_DIR}]


def containers(
    spec: LlamaDeploymentSpec, package: Resolved, image: str, resources: Mapping[str, Any], settings: PlanSettings
) -> list[dict[str, Any]]:
    """Return what copies the programs out of the server's image, and the package's container as a sidecar."""
    run = {"name": RUN, "mountPath": names.PACKAGE_RUN_DIR}
    same = {"imagePullPolicy": settings.image_pull_policy, "terminationMessagePolicy": "FallbackToLogsOnError"}
    tools = {
        "name": names.PACKAGE_TOOLS,
        "image": image,
        "command": ["llama-inference", "package-tools", _PROGRAMS],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        **same,
        "securityContext": _confined(read_only=True),
        "volumeMounts": [run, {"name": _TMP, "mountPath": "/tmp"}],  # noqa: S108  (the pod's own)
    }
    sidecar = {
        "name": names.PACKAGE_CONTAINER,
        "image": package.runs_in,
        "restartPolicy": "Always",
        "command": ["/bin/sh", "-c", _START],
        "env": [{"name": name, "value": value} for name, value in _environment(spec, package, settings).items()],
        "resources": resources,
        **same,
        # An image that was built has its package where the server writes beside it.
        "securityContext": _confined(read_only=package.image is None),
        "volumeMounts": [*_mounts(package), run],
    }
    return [tools, sidecar]


def _confined(*, read_only: bool) -> dict[str, Any]:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": read_only,
        "capabilities": {"drop": ["ALL"]},
    }


def _environment(spec: LlamaDeploymentSpec, package: Resolved, settings: PlanSettings) -> dict[str, str]:
    own = {
        "APP_HOME": "/app",
        "HOME": "/tmp",  # noqa: S108  (the pod's own)
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "LLAMA_PACKAGE_DIGEST": package.content,
        "LLAMA_PACKAGE_DEVELOPMENT": str(package.development).lower(),
    }
    if package.environment_key is not None:
        own |= {
            "PYTHON_EXECUTABLE": f"{_VENV}/bin/python",
            "PATH": f"{_VENV}/bin:{_PATH}",
            "LLAMA_PACKAGE_LAYOUT": f"{names.ENVIRONMENT_DIR}/packages/{package.content}",
        }
    default = {"HF_ENDPOINT": settings.hub_endpoint} if settings.hub_endpoint else {}
    if spec.resources.gpu.count:
        # Images without CUDA's own say nothing of what they need of the driver.
        default |= {"NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
    return {**default, **package.variables, **own}


def _mounts(package: Resolved) -> Iterator[dict[str, Any]]:
    if package.environment_key is not None:
        yield {"name": VOLUME, "mountPath": names.ENVIRONMENT_DIR, "readOnly": True}
        yield {"name": _APP, "mountPath": "/app"}
        yield {"name": _PACKAGES, "mountPath": "/packages"}
    yield {"name": _SECRETS, "mountPath": SECRETS_DIR, "readOnly": True}
    yield {"name": _TMP, "mountPath": "/tmp"}  # noqa: S108  (the pod's own)
    yield {"name": _SHM, "mountPath": "/dev/shm"}  # noqa: S108


def volumes(package: Resolved) -> list[dict[str, Any]]:
    """Return the volumes of a package's container, and the one that it shares with the server."""
    found: list[dict[str, Any]] = [
        {"name": RUN, "emptyDir": {}},
        {"name": _TMP, "emptyDir": {}},
        {
            "name": _SECRETS,
            "projected": {"defaultMode": 0o440, "sources": [_source(*row) for row in package.wanted_secrets]},
        },
    ]
    if (claim := claim_name(package)) is not None:
        found += [
            # Read only where it is mounted: asked for here, some drivers would keep the next Job from writing.
            {"name": VOLUME, "persistentVolumeClaim": {"claimName": claim}},
            {"name": _APP, "emptyDir": {}},
            {"name": _PACKAGES, "emptyDir": {}},
        ]
    return found


def _source(name: str, secret: str, key: str) -> dict[str, Any]:
    # Optional, as the Hub token is: pods are made once it is there, and one that starts later can say so.
    return {"secret": {"name": secret, "optional": True, "items": [{"key": key, "path": name}]}}
