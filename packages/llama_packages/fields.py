"""Every field of config.yaml, as truss 0.18.36 has them, and what becomes of it on a cluster of one's own. Data alone.

`docs/packages.md` shows this table; it is held to the schema in the wheel of that version.
"""

from dataclasses import dataclass
from typing import Final, Literal

TRUSS_VERSION: Final = "0.18.36"
"""The truss whose fields these are, and whose server packages run on."""

Support = Literal["supported", "ignored", "refused"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field; `path` is dotted, an item of a list has the path of the list.

    `words` say what becomes of it. Of a refused field they say what to do instead; `whole` covers all fields below it.
    `computed` fields are none of the schema: truss computes them, or took them in earlier versions.
    """

    path: str
    support: Support
    words: str
    whole: bool = False
    computed: bool = False


_BUILT: Final = (
    "needs an image that is built: `truss image build-context` writes what to build; push it and name it in "
    "spec.package.image"
)
_BASETEN: Final = "is Baseten's own: leave it out"
_NO_EFFECT: Final = "has no effect in truss either"
_CLOUD: Final = "cloud roles are not known here: name a Secret of type docker-registry in spec.podTemplate"


def _supported(path: str, words: str, *, whole: bool = False, computed: bool = False) -> Field:
    return Field(path, "supported", words, whole, computed)


def _ignored(path: str, words: str, *, whole: bool = False, computed: bool = False) -> Field:
    return Field(path, "ignored", words, whole, computed)


def _refused(path: str, words: str, *, whole: bool = False, computed: bool = False) -> Field:
    return Field(path, "refused", words, whole, computed)


_GENERAL: Final = (
    _supported("model_name", "the name under which the model is known; requests reach it whatever they call it"),
    _supported("model_metadata", "handed to the model as it is", whole=True),
    _supported("description", "handed to the model as it is"),
    _supported("python_version", "py39 to py314: the image of that Python; spec.package.python overrides it"),
    _supported("requirements", "installed by the environment Job; they win over what truss's server asks for"),
    _supported("requirements_file", "a requirements.txt or pyproject.toml of the package, installed likewise"),
    _supported("environment_variables", "set in the package's container; HOME, PATH, PORT and HOSTNAME are taken"),
    _supported(
        "secrets", "names alone: each is a file in /secrets from a Secret; values in config.yaml are never used"
    ),
    _supported("external_data", "fetched into the data folder by the environment Job"),
    _supported("external_data.url", "an http or https URL that needs no credentials"),
    _supported("external_data.local_data_path", "the file's path below the data folder"),
    _ignored("external_data.backend", "files are fetched over http or https, whatever the backend"),
    _ignored("external_data.name", _NO_EFFECT),
    _supported("data_dir", "/app/data"),
    _supported("model_module_dir", "the folder of model_class_filename; unlike in truss another name than model works"),
    _supported("model_class_filename", "the file with the class"),
    _supported("model_class_name", "the class"),
    _supported("bundled_packages_dir", "/packages, which is on the path of imports"),
    _supported("external_package_dirs", "folders within the package, also in /packages"),
    _supported("apply_library_patches", "as in truss"),
    _ignored("live_reload", "spec.package.development decides"),
    _ignored("examples_filename", _NO_EFFECT),
    _ignored("input_type", _NO_EFFECT),
    _ignored("model_framework", _NO_EFFECT),
    _ignored("model_type", _NO_EFFECT),
    _ignored("spec_version", _NO_EFFECT),
    _ignored("use_local_src", _NO_EFFECT),
    _ignored("cache_internal", _NO_EFFECT, whole=True),
)

_IMAGES: Final = (
    _supported("base_image", "the image of the package's container"),
    _supported("base_image.image", "the image; its Python is the one that the environment is made for"),
    _supported("base_image.python_executable_path", "the Python in it"),
    _refused("base_image.docker_auth", _CLOUD, whole=True),
    _refused("system_packages", _BUILT),
    _refused("build_commands", _BUILT),
    _supported("build", "as its fields say"),
    _refused("build.arguments", _BASETEN, whole=True),
    _refused("build.secret_to_path_mapping", _BUILT, whole=True),
    _ignored("build.no_cache", "no image is built"),
    _supported("build.model_server", "TrussServer; TRT_LLM is refused"),
    _refused(
        "docker_server",
        "an image with a server of its own is no package: run it as a Deployment, or write a model.py that asks it",
        whole=True,
    ),
)

_RESOURCES: Final = (
    _supported("resources", "as its fields say"),
    _supported("resources.accelerator", "spec.resources.gpu: product and, after a colon, count; none: no GPU"),
    _supported("resources.cpu", "spec.resources.cpu"),
    _supported("resources.memory", "spec.resources.memory and memoryLimit"),
    _ignored("resources.use_gpu", "resources.accelerator decides", computed=True),
    _ignored("resources.instance_type", "say resources.accelerator, cpu and memory instead"),
    _refused("resources.node_count", "a package runs on one node: leave it out"),
    _ignored("resources.fabric", "nodes are chosen by spec.scheduling", whole=True),
)

_RUNTIME: Final = (
    _supported("runtime", "as its fields say"),
    _supported("runtime.predict_concurrency", "requests at once in the package; others wait in the queue in front"),
    _supported("runtime.streaming_read_timeout", "as in truss; the stream then ends as failed"),
    _ignored("runtime.enable_tracing_data", "traces are those of the server in front"),
    _supported("runtime.enable_debug_logs", "as in truss"),
    _supported("runtime.transport", "http and websocket; grpc is refused", whole=True),
    _ignored("runtime.is_websocket_endpoint", "websockets are let through to any package that has them"),
    _supported("runtime.health_checks", "as in truss: is_healthy decides over readiness and restarts", whole=True),
    _ignored("runtime.oidc", "pods have no identity at a cloud", whole=True),
    _ignored("runtime.remote_ssh", "kubectl exec reaches the container", whole=True),
    _supported("runtime.egress_restrictions", "as its fields say"),
    _ignored("runtime.egress_restrictions.ip_allow_list", "spec.networkPolicy.egress decides"),
    _refused(
        "runtime.egress_restrictions.fqdn_allow_list",
        "a NetworkPolicy knows no host names: name addresses in spec.networkPolicy.egress",
    ),
    _ignored("runtime.truss_server_version_override", f"the server is that of truss {TRUSS_VERSION}"),
    _supported("runtime.num_workers", "1; more are refused", computed=True),
)

_WEIGHTS: Final = (
    _refused(
        "model_cache",
        "the pod does not fetch it: mount a volume with the files by spec.podTemplate, or let load() fetch them",
        whole=True,
    ),
    _refused("hf_cache", "is model_cache's name of earlier versions, which is refused", whole=True, computed=True),
    _refused(
        "weights",
        "the pod does not fetch them: mount a volume with the files by spec.podTemplate, or let load() fetch them",
        whole=True,
    ),
    _refused(
        "trt_llm",
        "TensorRT-LLM engines are Baseten's own: serve the model itself, spec.model.repo with engine native or vllm",
        whole=True,
    ),
    _refused("bis_llm", _BASETEN, whole=True),
    _refused("bdn", _BASETEN, whole=True),
    _refused("training_checkpoints", _BASETEN, whole=True),
)

FIELDS: Final = {row.path: row for row in (*_GENERAL, *_IMAGES, *_RESOURCES, *_RUNTIME, *_WEIGHTS)}
"""Path → field."""
