"""The reasons that preflight alone gives; those that pods can give too stand in `status.reasons`."""

from collections.abc import Mapping
from typing import Final

from llama_operator.spec.status import ConditionType
from llama_operator.status.entry import Entry
from llama_operator.status.reason import Reason

_CHECK: Final[tuple[ConditionType, ...]] = ("PreflightPassed",)
_PLACE: Final[tuple[ConditionType, ...]] = ("PreflightPassed", "PodsScheduled")
"""What pods that are there can meet later, and are told of in the same words."""

PREFLIGHT: Final[Mapping[Reason, Entry]] = {
    Reason.CHECKS_PASSED: Entry(
        _CHECK,
        "What the spec names exists, the model fits, and a node could take it; status.preflight has the numbers.",
    ),
    Reason.CHECKS_OFF: Entry(_CHECK, "spec.preflight.mode is off: nothing was checked."),
    Reason.CHECKING: Entry(_CHECK, "The Hub is being asked; it answers, or is given up, within seconds."),
    Reason.SECRET_NOT_FOUND: Entry(
        _CHECK,
        "The Secret in spec.model.tokenSecretRef does not exist; no pod is created until it does.",
        "It was not created, or in another namespace.",
        "Create it in the namespace of the LlamaDeployment, or remove the field for a public model.",
    ),
    Reason.SECRET_KEY_NOT_FOUND: Entry(
        _CHECK,
        "The Secret exists, but not the key; no pod is created until it does.",
        "Another key was used when the Secret was created.",
        "Add the key, or name the right one in spec.model.tokenSecretRef.key.",
    ),
    Reason.MODEL_DOES_NOT_FIT: Entry(
        _CHECK,
        "Weights, KV cache and overhead are more than the memory of the GPUs, or than the memory limit without any.",
        "Too few or too small GPUs, or a longer context for more sequences than they can hold.",
        "Choose one of the message's proposals: context, concurrency or number of GPUs that would fit.",
    ),
    Reason.NO_MATCHING_NODE: Entry(
        _PLACE,
        "The node selector or the required affinity matches no node that would do otherwise.",
        "A typing error in spec.scheduling, or a node that has lost its label.",
        "Correct spec.scheduling, or label a node.",
    ),
    Reason.NODES_TAINTED: Entry(
        _PLACE,
        "Each node that would do has a taint that the pods do not tolerate.",
        "GPU nodes kept for a team, a cordoned node, or one that has not recovered.",
        "Tolerate the taint in spec.scheduling.tolerations, take it off, or uncordon the node.",
    ),
    Reason.NODE_TOO_SMALL: Entry(
        _PLACE,
        "No node has as much CPU or memory for pods as one replica asks for, even when nothing else runs there.",
        "spec.resources asks for more than a whole node.",
        "Lower spec.resources.cpu or memory, or add a larger node.",
    ),
    Reason.PRIORITY_CLASS_NOT_FOUND: Entry(
        _PLACE,
        "There is no PriorityClass of the name that pods give, so that the API server makes none.",
        "A typing error in spec.scheduling.priorityClassName, or a class that was deleted.",
        "Correct the field that the message names, or create the class.",
    ),
    Reason.RUNTIME_CLASS_NOT_FOUND: Entry(
        _PLACE,
        "There is no RuntimeClass of the name that pods give, so that the API server makes none.",
        "A typing error in spec.scheduling.runtimeClassName, or a GPU operator that was not installed.",
        "Correct the field that the message names, or create the class.",
    ),
    Reason.QUOTA_TOO_SMALL: Entry(
        _CHECK,
        "A ResourceQuota of the namespace could never admit one replica, or demands a limit that is not set.",
        "The quota allows fewer GPUs, or less CPU, memory or storage, than one replica asks for.",
        "Raise the quota, or lower what the message names.",
    ),
    Reason.LIMIT_RANGE_EXCEEDED: Entry(
        _CHECK,
        "A LimitRange of the namespace does not allow what a container, the pod or the cache asks for.",
        "Its bounds, or a default limit that is below a request.",
        "Change what the message names, or the LimitRange.",
    ),
    Reason.STORAGE_CLASS_NOT_FOUND: Entry(
        _CHECK,
        "There is no storage class to claim the cache from.",
        "A typing error in spec.cache.storageClassName, or a cluster without a default storage class.",
        "Name a class of kubectl get storageclass, or make one the default.",
    ),
    Reason.MODEL_CLAIM_NOT_FOUND: Entry(
        _CHECK,
        "The PersistentVolumeClaim in spec.model.claim does not exist; no pod is created until it does.",
        "A typing error, or a claim in another namespace.",
        "Create it in the namespace of the LlamaDeployment, or correct spec.model.claim.name.",
    ),
    Reason.CACHE_TOO_SMALL: Entry(
        _CHECK,
        "The files of the model are larger than the cache.",
        "spec.cache.size, or the volume of an earlier, smaller model.",
        "Raise spec.cache.size; unset, a new cache is sized from the model.",
    ),
    Reason.PULL_SECRET_NOT_FOUND: Entry(
        _CHECK,
        "A Secret in imagePullSecrets does not exist.",
        "It was not created, or in another namespace.",
        "Create it, or remove it from spec.podTemplate.",
    ),
}
