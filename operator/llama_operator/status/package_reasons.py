"""The rows of the table of reasons that are about packages."""

from collections.abc import Mapping
from typing import Final

from llama_operator.spec.status import ConditionType
from llama_operator.status.entry import Entry
from llama_operator.status.reason import Reason

_SPEC: Final[tuple[ConditionType, ...]] = ("Accepted",)
_MADE: Final[tuple[ConditionType, ...]] = ("ModelCached",)
_LOAD: Final[tuple[ConditionType, ...]] = ("ModelLoaded",)

PACKAGES: Final[Mapping[Reason, Entry]] = {
    Reason.PACKAGE_NOT_FOUND: Entry(
        _SPEC,
        "The ConfigMap in spec.package.configMap does not exist; what runs is left as it is.",
        "A typing error, or the ConfigMap was deleted.",
        "Create it with kubectl create configmap NAME --from-file=package.tgz, or correct the field; it is noticed by "
        "itself.",
    ),
    Reason.PACKAGE_INVALID: Entry(
        ("Accepted", "ModelCached"),
        "The package cannot be read, or truss does not take it; what runs is left as it is.",
        "No gzipped tar with config.yaml at its root, another content than spec.package.digest says, or a field of "
        "config.yaml with a value that truss refuses.",
        "Follow the message.",
    ),
    Reason.PACKAGE_UNSUPPORTED: Entry(
        _SPEC,
        "config.yaml has a field that is not served here; what runs is left as it is.",
        "docs/packages.md lists every field and what becomes of it.",
        "Follow the message, which names the field and what to do instead.",
    ),
    Reason.REQUIREMENTS_UNSOLVABLE: Entry(
        _MADE,
        "The package's requirements cannot be met together.",
        "Versions that exclude each other or do not exist, or a package without a wheel for this Python.",
        "Correct requirements in config.yaml, or set spec.package.python; the message has the resolver's words.",
    ),
    Reason.INDEX_UNREACHABLE: Entry(
        _MADE,
        "The package index does not answer.",
        "No way out of the cluster, or a mirror that is down.",
        "Open the way, name a mirror in spec.package.indexUrl, or give the chart a wheelhouse; it is tried again by "
        "itself.",
    ),
    Reason.ENVIRONMENT_FAILED: Entry(
        _MADE,
        "The environment of the package cannot be made.",
        "A volume that is full, a file of external_data that is not there, or a fault of an installer.",
        "Follow the message; kubectl logs of the Job's pod shows the rest.",
    ),
    Reason.INSTALLING: Entry(_MADE, "The environment of the package is being made; no GPU is claimed before."),
    Reason.INSTALLED: Entry(_MADE, "The environment of the package is there."),
    Reason.PACKAGE_IMPORT_FAILED: Entry(
        _LOAD,
        "The package's code cannot be imported.",
        "A requirement that config.yaml does not name, or an error in the file and line of the message.",
        "Correct it there; a changed package is rolled out at once.",
    ),
    Reason.PACKAGE_SIGNATURE_INVALID: Entry(
        _LOAD,
        "The package's class is none that truss can serve.",
        "No predict, a class of another name, or arguments that truss does not know.",
        "Correct the class that the message names.",
    ),
    Reason.PACKAGE_SECRET_MISSING: Entry(
        _LOAD,
        "The package reads a secret that is not there.",
        "It is not declared under secrets of config.yaml, or its Secret has gone.",
        "Declare it, or put the value into the Secret; it is tried again by itself.",
    ),
    Reason.PACKAGE_LOAD_FAILED: Entry(
        _LOAD,
        "The package's load has failed.",
        "The exception, file and line in the message.",
        "Correct it there; it is tried again by itself, and a changed package is rolled out at once.",
    ),
}
