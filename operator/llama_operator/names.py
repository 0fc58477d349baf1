"""Names that the outside world sees: API group, labels, annotations, object names, paths in the pod.

They are an interface: changing one restarts pods or orphans objects on every cluster that runs the operator.
"""

import hashlib
import re
from enum import StrEnum
from typing import Final

GROUP: Final = "llama-operator.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "LlamaDeployment"
PLURAL: Final = "llamadeployments"
SINGULAR: Final = "llamadeployment"
SHORT_NAME: Final = "llama"

FIELD_MANAGER: Final = "llama-operator"

LABEL_DEPLOYMENT: Final = f"{GROUP}/deployment"
"""On every child: the name of its LlamaDeployment."""

LABEL_NAME: Final = "app.kubernetes.io/name"
LABEL_INSTANCE: Final = "app.kubernetes.io/instance"
LABEL_COMPONENT: Final = "app.kubernetes.io/component"
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "llama-operator"
APP_NAME: Final = "llama-inference"
GATEWAY_APP: Final = "llama-gateway"
OPERATOR_APP: Final = "llama-operator"
"""Of the operator's own pods; the chart writes it."""

LABEL_GPU_PRODUCT: Final = "nvidia.com/gpu.product"
"""Set on nodes by NVIDIA's GPU feature discovery."""

LABEL_WORKER_INDEX: Final = "leaderworkerset.sigs.k8s.io/worker-index"
"""Set by LeaderWorkerSet on the pods of a group; 0 is the leader."""

GROUP_SUFFIX: Final = "-nodes"
"""Ends the name of a LeaderWorkerSet: that makes a Service of its own name, and the plain one is predict's."""

TAINT_CORDONED: Final = "node.kubernetes.io/unschedulable"
"""Set by Kubernetes on nodes that `kubectl cordon` has closed."""

ANNOTATION_SECRET_SEEN: Final = f"{GROUP}/secret-seen"
"""On pods, never in the template: touching a pod makes the kubelet refresh its Secret volumes at once."""

ANNOTATION_APPLIED: Final = f"{GROUP}/applied"
"""On every child: a digest of what was applied; tells a field that we want no more from one that is not ours."""

ANNOTATION_DEFAULT_IMAGE: Final = f"{GROUP}/default-image-for"
"""On a Deployment that runs the operator's default image: a digest of the rest of its pod template."""

ANNOTATION_MODEL: Final = f"{GROUP}/model"
"""On a Deployment: REPOSITORY@REVISION of the spec that its pods' commit was resolved from."""

ANNOTATION_STRATEGY: Final = f"{GROUP}/strategy"
"""On a LeaderWorkerSet: how the Deployment that it stands for would replace its pods, as JSON."""

ANNOTATION_TEMPLATE: Final = f"{GROUP}/template"
"""On a Deployment: a digest of its pod template, which tells a change of the pods from one of their number."""

ANNOTATION_REVISION: Final = f"{GROUP}/revision"
"""On a Deployment, and by Kubernetes' doing on its ReplicaSets: the number of the rollout that its template is of."""

ANNOTATION_ROLLOUT: Final = f"{GROUP}/rollout"
"""On a ControllerRevision: what became of the rollout, as JSON."""

ANNOTATION_KEYS_SEEN: Final = f"{GROUP}/api-keys-seen"
"""On pods, never in the template: the same for the Secret with the API keys."""

SHARED: Final = "shared.cache"
"""Stands for the name of a LlamaDeployment, which has no dot, on what belongs to several."""

LABEL_JOB: Final = "batch.kubernetes.io/job-name"
"""Set by Kubernetes on the pods of a Job."""

ANNOTATION_RETAIN: Final = f"{GROUP}/retain"
"""On a shared cache: it stays when the last LlamaDeployment that uses it goes."""

ANNOTATION_CONTENT: Final = f"{GROUP}/content"
"""On a shared cache and its Job: REPOSITORY@REVISION of what it holds."""

ANNOTATION_KEEPER: Final = f"{GROUP}/keeper"
"""On the Job that fills a shared cache: the UID of the LlamaDeployment by whose spec it runs."""

ANNOTATION_WANTED: Final = f"{GROUP}/wanted"
"""On the Lease of a model that may sleep, by its gateways: whether there are requests for it."""

ANNOTATION_PODS: Final = f"{GROUP}/pods"
"""On the same, by the operator: whether its pods are to run."""

ANNOTATION_STARTUP: Final = f"{GROUP}/startup-seconds"
"""On the same, by the operator: how long the last start took."""

PACKAGE_CONTAINER: Final = "package"
LAY_OUT: Final = "lay-out"
PACKAGE_TOOLS: Final = "package-tools"
ENVIRONMENT_COMPONENT: Final = "environment"
ENVIRONMENT_PREFIX: Final = "env-"
PACKAGE_RUN_DIR: Final = "/run/package"
ENVIRONMENT_DIR: Final = "/environment"

DEFAULT_TOKEN_SECRET: Final = "hf-access-token"  # noqa: S105  (a Secret's name, not its content)
DEFAULT_TOKEN_KEY: Final = "hf_access_token"  # noqa: S105

CONTAINER: Final = "inference"
PORT_NAME: Final = "http"
CONTAINER_PORT: Final = 8080
CACHE_DIR: Final = "/var/cache/llama"
MODEL_DIR: Final = "/var/lib/llama/model"
SHARED_PREFIX: Final = "model-"
TOKEN_DIR: Final = "/run/secrets/llama-operator.dev/hub"  # noqa: S105
TOKEN_FILE: Final = f"{TOKEN_DIR}/token"
KEYS_DIR: Final = "/run/secrets/llama-operator.dev/api-keys"
RUN_AS: Final = 65532


class Env(StrEnum):
    """The environment of the inference server; see docs/architecture.md."""

    MODEL = "LLAMA_INFERENCE_MODEL"
    REVISION = "LLAMA_INFERENCE_REVISION"
    SERVED_NAME = "LLAMA_INFERENCE_SERVED_NAME"
    ENDPOINT = "LLAMA_INFERENCE_ENDPOINT"
    CACHE_DIR = "LLAMA_INFERENCE_CACHE_DIR"
    OFFLINE = "LLAMA_INFERENCE_OFFLINE"
    MODEL_DIR = "LLAMA_INFERENCE_MODEL_DIR"
    TOKEN_FILE = "LLAMA_INFERENCE_TOKEN_FILE"  # noqa: S105  (a variable's name)
    BACKEND = "LLAMA_INFERENCE_BACKEND"
    DTYPE = "LLAMA_INFERENCE_DTYPE"
    MAX_CONTEXT_TOKENS = "LLAMA_INFERENCE_MAX_CONTEXT_TOKENS"
    MAX_CONCURRENT_SEQUENCES = "LLAMA_INFERENCE_MAX_CONCURRENT_SEQUENCES"
    MAX_QUEUE = "LLAMA_INFERENCE_MAX_QUEUE"
    GENERATION_DEFAULTS = "LLAMA_INFERENCE_GENERATION_DEFAULTS"
    GENERATION_MAXIMUMS = "LLAMA_INFERENCE_GENERATION_MAXIMUMS"
    TGI_URL = "LLAMA_INFERENCE_TGI_URL"
    TGI_MODEL_LINK = "LLAMA_INFERENCE_TGI_MODEL_LINK"
    DRAIN_SECONDS = "LLAMA_INFERENCE_DRAIN_SECONDS"
    API_KEYS_DIR = "LLAMA_INFERENCE_API_KEYS_DIR"
    NODES = "LLAMA_INFERENCE_NODES"
    NODE_RANK = "LLAMA_INFERENCE_NODE_RANK"
    LEADER_ADDRESS = "LLAMA_INFERENCE_LEADER_ADDRESS"
    GOLDEN_PROMPTS = "LLAMA_INFERENCE_GOLDEN_PROMPTS"
    PACKAGE_DIR = "LLAMA_INFERENCE_PACKAGE_DIR"
    PACKAGE_DIGEST = "LLAMA_INFERENCE_PACKAGE_DIGEST"
    PACKAGE_CONCURRENCY = "LLAMA_INFERENCE_PACKAGE_CONCURRENCY"
    PACKAGE_DEVELOPMENT = "LLAMA_INFERENCE_PACKAGE_DEVELOPMENT"


def child_labels(name: str) -> dict[str, str]:
    """Return the labels of every child of the LlamaDeployment `name`."""
    return {
        LABEL_NAME: APP_NAME,
        LABEL_INSTANCE: name,
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_DEPLOYMENT: name,
    }


def pod_selector(name: str) -> dict[str, str]:
    """Return the labels that select the pods of `name`; immutable once a Deployment has them."""
    return {LABEL_NAME: APP_NAME, LABEL_INSTANCE: name}


def cache_claim(name: str) -> str:
    """Return the name of the PVC that holds the model cache of `name`."""
    return f"{name}-cache"


def api_keys(name: str) -> str:
    """Return the name of the Secret that holds the API keys of `name`, compiled from those that its spec selects."""
    return f"{name}-api-keys"


def revision(name: str, number: int) -> str:
    """Return the name of the ControllerRevision that holds the rollout `number` of `name`."""
    return f"{name}-r{number}"


def shared_labels() -> dict[str, str]:
    """Return the labels of what belongs to several LlamaDeployments; no selector of pods that serve matches them."""
    return {LABEL_NAME: APP_NAME, LABEL_MANAGED_BY: MANAGED_BY, LABEL_DEPLOYMENT: SHARED}


def shared_claim(repo: str, revision: str) -> str:
    """Return the name of the PVC, and of the Job that fills it, for one revision of a repository."""
    words = re.sub("[^a-z0-9]+", "-", repo.rpartition("/")[2].lower()).strip("-")[:32].strip("-")
    return f"{SHARED_PREFIX}{words}-{hashlib.sha256(f'{repo}@{revision}'.encode()).hexdigest()[:10]}"


def environment_labels(name: str) -> dict[str, str]:
    """Return the labels of the pods that make the environment of `name`; they are none of those that serve."""
    return {
        LABEL_NAME: APP_NAME,
        LABEL_COMPONENT: ENVIRONMENT_COMPONENT,
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_DEPLOYMENT: name,
    }


def environment_claim(key: str) -> str:
    """Return the name of the PVC of the environment with this key, a digest of all that goes into it."""
    return f"{ENVIRONMENT_PREFIX}{key[:16]}"


def environment_job(name: str, key: str) -> str:
    """Return the name of the Job that makes an environment for `name`: at most the 63 characters of a label."""
    return f"{name[:47].rstrip('-')}-env-{key[:10]}"


def environment_policy(name: str) -> str:
    """Return the name of the NetworkPolicy of that Job."""
    return f"{name}-environment"


def gateway(name: str) -> str:
    """Return the name of the gateway's Deployment, ServiceAccount, Role and RoleBinding, where `name` may sleep."""
    return f"{name}-gateway"


def gateway_selector(name: str) -> dict[str, str]:
    """Return the labels that select the gateway's pods; immutable once a Deployment has them."""
    return {LABEL_NAME: GATEWAY_APP, LABEL_INSTANCE: name}


def download_policy(name: str) -> str:
    """Return the name of the NetworkPolicy of the Job that fills the shared cache of `name`."""
    return f"{name}-download"


def pods_service(name: str) -> str:
    """Return the name of the Service that leads to the pods of `name`, where its own leads to the gateway."""
    return f"{name}-pods"


def activity_lease(name: str) -> str:
    """Return the name of the Lease by which the gateway of `name` and the operator agree."""
    return f"{name}-activity"
