"""The table of reasons: what each means, what usually causes it, what to do."""

from collections.abc import Mapping
from typing import Final

from llama_operator.spec.status import ConditionType
from llama_operator.status.entry import Entry
from llama_operator.status.hub_reasons import HUB
from llama_operator.status.package_reasons import PACKAGES
from llama_operator.status.preflight_reasons import PREFLIGHT
from llama_operator.status.reason import Reason

_SPEC: Final[tuple[ConditionType, ...]] = ("Accepted",)
_CHECKED_PLACE: Final[tuple[ConditionType, ...]] = ("PodsScheduled", "PreflightPassed")
_CHECKED_CACHE: Final[tuple[ConditionType, ...]] = ("ModelCached", "PreflightPassed")
_CHECKED_LOAD: Final[tuple[ConditionType, ...]] = ("ModelLoaded", "PreflightPassed")
_PLACE: Final[tuple[ConditionType, ...]] = ("PodsScheduled",)
_CACHE: Final[tuple[ConditionType, ...]] = ("ModelCached",)
_LOAD: Final[tuple[ConditionType, ...]] = ("ModelLoaded",)
_LATER: Final[tuple[ConditionType, ...]] = ("PodsScheduled", "ModelCached", "ModelLoaded")
_AGAIN = "it is tried again with growing pauses, and within seconds when the Secret changes"

REASONS: Final[Mapping[Reason, Entry]] = {
    Reason.SPEC_VALID: Entry(_SPEC, "The spec can be served as written, and its objects are there."),
    Reason.INVALID_SPEC: Entry(
        _SPEC,
        "The spec cannot be served as written; what runs is left as it is.",
        "A field that the API server could not check, such as a list item in podTemplate without its name.",
        "Correct the field that the message names.",
    ),
    Reason.NAME_TAKEN: Entry(
        _SPEC,
        "An object with a name that this deployment needs belongs to somebody else; it is not touched.",
        "A Service, Deployment, ServiceAccount or PersistentVolumeClaim of that name was there before.",
        "Delete or rename that object, or create the LlamaDeployment under another name.",
    ),
    Reason.NO_SUCH_REVISION: Entry(
        _SPEC,
        "spec.rollout.rollbackTo names a revision that is not in status.history; what runs is left as it is.",
        "A typing error, or a revision that is so old that it is kept no more.",
        "Name one of status.history, or remove the field so that the spec holds.",
    ),
    Reason.NO_API_KEYS: Entry(
        ("Degraded",),
        "spec.auth.apiKeySecretSelector selects no key, so that nobody may call.",
        "No Secret has the labels, or those that have them are empty or not of type Opaque.",
        "Label a Secret so, or remove the selector to let everybody call.",
    ),
    Reason.API_KEYS_IGNORED: Entry(
        ("Degraded",),
        "Some API keys cannot be used; the others can.",
        "Two keys would have one name, SECRET.KEY, or a name is too long, or a value is empty.",
        "Rename or remove what the message names.",
    ),
    Reason.LEFTOVER: Entry(
        _SPEC,
        "An object of an earlier LlamaDeployment of the same name is still being deleted.",
        "The LlamaDeployment was deleted and created again at once.",
        "Wait; Kubernetes deletes it within moments.",
    ),
    Reason.OBJECT_REFUSED: Entry(
        _SPEC,
        "The API server does not accept one of the objects.",
        "A quota, an admission policy, or a field of podTemplate, affinity or tolerations that does not exist.",
        "Follow the API server's words in the message.",
    ),
    Reason.WEBHOOK_FAILED: Entry(
        _SPEC,
        "An admission webhook of the cluster fails, so that an object is not applied; the others are.",
        "The webhook's pods are away, its certificate has run out, or it takes too long.",
        "Mend the webhook that the message names, or its configuration; it is tried again every 15 seconds.",
    ),
    Reason.KIND_NOT_INSTALLED: Entry(
        ("Accepted", "Degraded"),
        "The cluster does not know a kind of object that the spec asks for; without a ServiceMonitor all else goes on.",
        "The project that the kind is of is not installed.",
        "Install what the message names, or do without that field; it is noticed by itself.",
    ),
    Reason.OPERATOR_FORBIDDEN: Entry(
        _SPEC,
        "The operator may not read what it has to.",
        "Its roles are of another version, or somebody has changed them.",
        "Install the chart of the operator's version again; the message says which right is missing. Listing Secrets, "
        "which API keys take, needs the chart's apiKeys.enabled.",
    ),
    **PREFLIGHT,
    **PACKAGES,
    Reason.WAITING: Entry((*_LATER, "Progressing"), "An earlier step has to come first; its condition says more."),
    Reason.STOPPED: Entry((*_LATER, "Available", "Progressing"), "spec.replicas is 0; the cache is kept."),
    Reason.ASLEEP: Entry(
        (*_LATER, "Available", "Progressing"),
        "Nobody has asked for spec.scaling.idleSeconds; a predict request wakes the model.",
    ),
    Reason.POD_REFUSED: Entry(
        _PLACE,
        "The API server does not accept the pods.",
        "An admission policy or Pod Security level that a podTemplate does not meet.",
        "Follow the API server's words in the message.",
    ),
    Reason.QUOTA_EXCEEDED: Entry(
        _PLACE,
        "A quota of the namespace leaves no room for the pods.",
        "Other pods use the quota, or it is smaller than one replica.",
        "Raise the quota, lower spec.resources or spec.replicas, or free some of it.",
    ),
    Reason.ALL_SCHEDULED: Entry(_PLACE, "Each pod has its node."),
    Reason.NO_GPU_NODE: Entry(
        _CHECKED_PLACE,
        "No node offers the GPU resource.",
        "There is no GPU node, or its device plugin does not run.",
        "Add a node, install the device plugin, or set spec.resources.gpu.count to 0 to run on CPUs.",
    ),
    Reason.NO_NODE_WITH_PRODUCT: Entry(
        _CHECKED_PLACE,
        "No node has the GPU product.",
        "spec.resources.gpu.product is not what the cluster has; the default is A100.",
        "Set it to a product of the cluster, or to any.",
    ),
    Reason.TOO_MANY_GPUS: Entry(
        _CHECKED_PLACE,
        "One replica wants more GPUs than any node has.",
        "All GPUs of a replica are on one node.",
        "Lower spec.resources.gpu.count, or add a larger node.",
    ),
    Reason.GPUS_IN_USE: Entry(
        _PLACE,
        "There are nodes with enough GPUs, but not enough of them are free.",
        "Other pods hold them; during a rolling update also the deployment's own old pods.",
        "Wait, free some, add a node, or roll with maxSurge 0 and maxUnavailable 1.",
    ),
    Reason.INSUFFICIENT_RESOURCES: Entry(
        _PLACE,
        "No node has enough CPU or memory free.",
        "spec.resources asks for more than is left beside the other pods.",
        "Lower spec.resources.cpu or memory, or add a node.",
    ),
    Reason.CACHE_NOT_BOUND: Entry(
        _PLACE,
        "The volume for the cache cannot be provided.",
        "No default storage class, a wrong class name, or no storage left.",
        "Set spec.cache.storageClassName to a class of the cluster; kubectl describe pvc says more.",
    ),
    Reason.UNSCHEDULABLE: Entry(
        _PLACE,
        "The scheduler finds no node, for another reason.",
        "What runs already: topology spread, pod affinity, ports, the place of a volume.",
        "Follow the scheduler's words in the message; spec.scheduling holds selectors and tolerations.",
    ),
    Reason.IMAGE_PULL_FAILED: Entry(
        _LOAD,
        "The node cannot pull an image: the server's, or the one with the model.",
        "A wrong name or tag, a registry out of reach, or one that wants credentials.",
        "Correct spec.engine.image or spec.model.image, or add imagePullSecrets in spec.podTemplate.",
    ),
    Reason.VOLUME_NOT_MOUNTED: Entry(
        _LOAD,
        "A volume cannot be mounted.",
        "A ReadWriteOnce cache that another node holds, or a storage driver that fails.",
        "Use accessMode ReadWriteMany for several nodes; kubectl describe pod says more.",
    ),
    Reason.CONTAINER_NOT_CREATED: Entry(
        _LOAD,
        "The node cannot create the container.",
        "A Secret or ConfigMap that podTemplate refers to is missing, or the command is not in the image.",
        "Follow the message.",
    ),
    Reason.OUT_OF_MEMORY: Entry(
        _LOAD,
        "The server was killed for want of memory.",
        "The memory limit is too low for the model.",
        "Raise or remove spec.resources.memoryLimit; without a limit, raise spec.resources.memory. With TGI these are "
        "its container's: those of the server beside it are in spec.podTemplate.",
    ),
    Reason.GPU_OUT_OF_MEMORY: Entry(
        _LOAD,
        "The memory of the GPUs does not hold the model and its KV cache.",
        "Too few GPUs, another process on them, or more sequences or context than they have room for.",
        "Raise spec.resources.gpu.count, or lower spec.engine.maxConcurrentSequences or maxContextTokens.",
    ),
    Reason.SHARED_MEMORY_TOO_SMALL: Entry(
        _LOAD,
        "The server found too little shared memory in /dev/shm.",
        "Several GPUs exchange data through it; spec.resources.sharedMemory is too small, or a podTemplate took it.",
        "Raise spec.resources.sharedMemory.",
    ),
    Reason.CRASHING: Entry(
        _LOAD,
        "The server ends by itself.",
        "A setting that it refuses, an image without it, or a fault; the message holds its last words.",
        "Follow its last words; kubectl logs --previous shows the rest.",
    ),
    Reason.EVICTED: Entry(
        _LOAD,
        "The node evicted a pod.",
        "The node ran out of memory or disk.",
        "Raise spec.resources.memory so that the pod gets a node with room, or free the node's disk.",
    ),
    Reason.PREEMPTED: Entry(
        _LOAD,
        "The scheduler took a pod off its node for one of a higher priority.",
        "Pods without a priority class are the first to go.",
        "Set spec.scheduling.priorityClassName, or add a node.",
    ),
    Reason.TOKEN_MISSING: Entry(
        _CHECKED_CACHE,
        "The model is gated or private and there is no token.",
        "The Secret or its key is not there.",
        f"Create the Secret that the message names; {_AGAIN}.",
    ),
    Reason.TOKEN_REJECTED: Entry(
        _CHECKED_CACHE,
        "The Hub does not know the token (401).",
        "A typing error, or the token was revoked.",
        f"Put a valid token into the Secret that the message names; {_AGAIN}.",
    ),
    Reason.ACCESS_DENIED: Entry(
        _CHECKED_CACHE,
        "The Hub knows the token, and its account may not read the model (403).",
        "The licence was not accepted on the model's page, or access is not granted yet.",
        f"Accept the licence with that account, or use another account's token; {_AGAIN}.",
    ),
    Reason.REPOSITORY_NOT_FOUND: Entry(
        _CHECKED_CACHE,
        "The Hub has no such repository, or does not show it to this account.",
        "A typing error in spec.model.repo; a private repository without a token looks the same.",
        "Correct spec.model.repo, or name a token that may read it.",
    ),
    Reason.REVISION_NOT_FOUND: Entry(
        _CHECKED_CACHE,
        "The repository has no such branch, tag or commit.",
        "A typing error in spec.model.revision.",
        "Correct spec.model.revision; main always exists.",
    ),
    **HUB,
    Reason.DOWNLOAD_INTERRUPTED: Entry(
        _CACHE,
        "A transfer broke off; it goes on from where it was.",
        "An unsteady network.",
        "Wait; nothing that is there is fetched again.",
    ),
    Reason.DOWNLOAD_STALLED: Entry(
        _CACHE,
        "No byte of the model has come for longer than the operator's stallSeconds; it is tried again all the time.",
        "A proxy or firewall that holds connections, a Hub that limits or hangs, a network that is down.",
        "Look at the way to the Hub, or name a mirror in spec.model.endpoint; it goes on where it stopped.",
    ),
    Reason.DISK_FULL: Entry(
        _CACHE,
        "The cache volume is full.",
        "The model is larger than estimated, or more revisions are kept than it was sized for.",
        "Raise spec.cache.size.",
    ),
    Reason.DOWNLOADING: Entry(
        _CACHE, "The model is on its way; status.startup shows how far. Pods of the model before serve on meanwhile."
    ),
    Reason.CACHED: Entry(_CACHE, "The model is in the cache volume."),
    Reason.UNSUPPORTED_ARCHITECTURE: Entry(
        _CHECKED_LOAD,
        "The engine cannot run this model.",
        "It is no causal language model that transformers knows, or it needs code from its repository.",
        "Name a model of the Llama family in spec.model.repo.",
    ),
    Reason.LOAD_FAILED: Entry(
        _LOAD,
        "The weights could not be loaded.",
        "Files that are incomplete or not of one model, too little memory, or an engine that does not start.",
        "Follow the message: the server says what mends what it found.",
    ),
    Reason.GOLDEN_PROMPT_FAILED: Entry(
        _LOAD,
        "The model answers a golden prompt otherwise than spec.rollout.goldenPrompts expects; the pod is not ready.",
        "A model, revision, dtype or engine that answers differently; or an expectation that is too narrow.",
        "Correct what the rollout changed, or the expectation; the message shows the difference.",
    ),
    Reason.STARTUP_FAILED: Entry(
        _LOAD,
        "The server reports a failure that this operator does not know.",
        "A server newer than the operator.",
        "Follow the message.",
    ),
    Reason.LOADING: Entry(_LOAD, "The weights are being loaded; status.startup shows how far."),
    Reason.LOADED: Entry(_LOAD, "At least one pod has the model in memory."),
    Reason.STARTING: Entry(("Available", "Progressing"), "The first pods are on their way."),
    Reason.SERVING: Entry(("Available",), "Predict requests are answered at status.url."),
    Reason.GATEWAY_UNAVAILABLE: Entry(
        ("Available", "Degraded"),
        "No pod answers of the gateway that callers are to come by.",
        "Its image cannot be pulled, no node has room for it, or it ends by itself.",
        "kubectl describe the Deployment that the message names; with spec.scaling.minReplicas 1 there is no gateway.",
    ),
    Reason.GATEWAY_DISABLED: Entry(
        ("Degraded",),
        "spec.scaling.minReplicas is 0, and the operator is installed without gateways: the pods never sleep.",
        "The chart's gateway.enabled is false, which leaves out the rights that gateways take.",
        "Install the chart with gateway.enabled, or set spec.scaling.minReplicas to 1.",
    ),
    Reason.ROLLING_OUT: Entry(("Progressing",), "Pods are being replaced or added."),
    Reason.PAUSED: Entry(("Progressing",), "spec.rollout.paused holds the rollout where it is; all pods serve on."),
    Reason.ROLLED_BACK: Entry(
        ("Degraded",),
        "The last rollout failed, and the pods are those of the revision before it; the spec that failed is not tried "
        "again as it is.",
        "A crash loop, a model that does not load, a golden prompt that fails, or the progress deadline; "
        "status.history says which, and what had changed.",
        "Change the spec, back or further; to try the same again, change an annotation in spec.podTemplate.",
    ),
    Reason.DEADLINE_EXCEEDED: Entry(
        ("Progressing",),
        "The rollout has made no progress for spec.rollout.progressDeadlineSeconds.",
        "New pods do not become ready; the other conditions say why.",
        "Mend what the other conditions name; the old pods go on serving meanwhile.",
    ),
    Reason.SETTLED: Entry(("Progressing",), "All pods run the present spec and are ready."),
    Reason.ALL_WELL: Entry(("Degraded",), "Nothing is wrong."),
}
