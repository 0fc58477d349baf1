"""Will the cache get a volume, and is it large enough for the model?"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from llama_operator.plan.sizing import held_revisions
from llama_operator.plan.survey import Survey, class_of
from llama_operator.preflight.finding import GIB, Finding, failed, gib, passed, unknown, warned
from llama_operator.spec.source import ModelSource

MARGIN: Final = Decimal("1.05")
"""A file system takes its share of a volume."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """The cache's volume: its bytes, whether it is there already, the class that it is claimed from, who uses it."""

    size: Decimal
    there: bool
    storage_class: str | None
    shared: bool


def check(cache: Cache, model_bytes: int | None, survey: Survey) -> Iterator[Finding]:
    """Yield what is found of the class, and of the size where the size of the model is known."""
    if not cache.there:
        yield _of_class(cache, survey)
    if model_bytes is not None:
        yield from _of_size(cache, model_bytes * MARGIN, gib(model_bytes))


def _of_size(cache: Cache, wanted: Decimal, files: str) -> Iterator[Finding]:
    """Yield what is too small: for the model, or only for its next revision, which may yet have files of this one."""
    if wanted > cache.size:
        yield failed(
            "Storage",
            "CacheTooSmall",
            f"the files of the model have {files}, and the cache {gib(cache.size)}: set spec.cache.size to "
            f"{math.ceil(wanted / GIB)}Gi or more",
        )
    elif (both := wanted * held_revisions(shared=cache.shared)) > cache.size:
        yield warned(
            "Storage",
            f"the cache of {gib(cache.size)} has room for the {files} of the model, but not for a revision of other "
            f"weights beside another: for that set spec.cache.size to {math.ceil(both / GIB)}Gi or more, where the "
            "storage class allows expansion",
        )


def _of_class(cache: Cache, survey: Survey) -> Finding:
    classes = survey.storage_classes
    if classes is None:
        return unknown("Storage", "the operator may not list storage classes, so that it is not known which there are")
    name = class_of(cache.storage_class, classes)
    if name in classes:
        return passed("Storage", f"the cache is claimed from storage class {name}")
    if (name or "") in survey.volume_classes:
        return passed("Storage", "there is a volume made by hand that the cache may take")
    others = ", ".join(sorted(classes)) or "none"
    if name is None:
        return failed(
            "Storage",
            "StorageClassNotFound",
            f"no storage class is the cluster's default (there are: {others}): name one in "
            "spec.cache.storageClassName, or make one the default",
        )
    return failed(
        "Storage",
        "StorageClassNotFound",
        f"there is no storage class {name} (there are: {others}): name one of these in spec.cache.storageClassName of "
        "a new LlamaDeployment, for it cannot change, or create the class",
    )


def check_source(model: ModelSource, *, there: bool) -> Finding:
    """Return what is found of a model that does not come from the Hub; what is in it, its server tells."""
    if model.claim is None:
        reference = model.image.reference if model.image else "none"
        return unknown("Storage", f"the model is in image {reference}, which its node pulls; no Hub is asked")
    if there:
        return passed("Storage", f"the model is in PersistentVolumeClaim {model.claim.name}; no Hub is asked")
    return failed(
        "Storage",
        "ModelClaimNotFound",
        f"there is no PersistentVolumeClaim {model.claim.name} with the model: create it in this namespace, or correct "
        "spec.model.claim.name",
    )
