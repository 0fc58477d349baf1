"""Will the cache get a volume, and is it large enough?"""

from decimal import Decimal

import pytest

from llama_operator.plan.survey import Survey
from llama_operator.preflight.finding import GIB, Finding
from llama_operator.preflight.storage import Cache, check

CLASSES = {"fast": False, "standard": True}


def a_cache(gib: float = 200, *, there: bool = False, storage_class: str | None = None, shared: bool = False) -> Cache:
    """A cache of so many GiB."""
    return Cache(size=Decimal(gib) * GIB, there=there, storage_class=storage_class, shared=shared)


def found(cache: Cache, survey: Survey, model_bytes: int | None = None) -> Finding:
    """The one finding."""
    (finding,) = check(cache, model_bytes, survey)
    return finding


@pytest.mark.parametrize(("storage_class", "name"), [(None, "standard"), ("fast", "fast")])
def test_a_class_that_is_there_will_do(storage_class: str | None, name: str) -> None:
    """By its name, or as the default."""
    finding = found(a_cache(storage_class=storage_class), Survey(storage_classes=CLASSES))
    assert (finding.state, finding.message) == ("passed", f"the cache is claimed from storage class {name}")


def test_a_class_that_is_not_there_is_named_beside_those_that_are() -> None:
    """A typing error is seen at a glance."""
    finding = found(a_cache(storage_class="fsat"), Survey(storage_classes=CLASSES))
    assert (finding.state, finding.reason) == ("failed", "StorageClassNotFound")
    assert "no storage class fsat (there are: fast, standard)" in finding.message


def test_no_default_is_told_from_no_class() -> None:
    """Naming one is the fix."""
    finding = found(a_cache(), Survey(storage_classes={"fast": False}))
    assert finding.reason == "StorageClassNotFound"
    assert "no storage class is the cluster's default (there are: fast): name one" in finding.message


@pytest.mark.parametrize(("storage_class", "of_volume"), [("manual", "manual"), (None, "")])
def test_a_volume_made_by_hand_needs_no_class(storage_class: str | None, of_volume: str) -> None:
    """Its class may be a name that nothing else bears, or none at all."""
    survey = Survey(storage_classes={}, volume_classes=frozenset({of_volume}))
    assert found(a_cache(storage_class=storage_class), survey).state == "passed"


def test_a_cache_that_is_there_is_not_asked_for_its_class() -> None:
    """It has its volume, whatever became of the class."""
    assert list(check(a_cache(there=True, storage_class="gone"), None, Survey(storage_classes={}))) == []


def test_classes_that_may_not_be_listed_are_not_known() -> None:
    """Nothing is refused for want of a right."""
    assert found(a_cache(), Survey()).state == "unknown"


@pytest.mark.parametrize("there", [True, False])
def test_a_cache_smaller_than_the_model_is_seen_before_the_download(there: bool) -> None:
    """With what would do; the file system takes its share."""
    *_, finding = check(a_cache(100, there=there), 100 * GIB, Survey(storage_classes=CLASSES))
    assert (finding.state, finding.reason) == ("failed", "CacheTooSmall")
    assert finding.message == (
        "the files of the model have 100.0 GiB, and the cache 100.0 GiB: set spec.cache.size to 105Gi or more"
    )
    assert all(
        row.state == "passed" for row in check(a_cache(105, there=there), 100 * GIB, Survey(storage_classes=CLASSES))
    )


@pytest.mark.parametrize("there", [True, False])
def test_a_cache_without_room_for_a_second_revision_is_told_with_what_has_it(there: bool) -> None:
    """It holds nothing up: the next revision may have the same files, or never come."""
    *_, finding = check(a_cache(150, there=there), 100 * GIB, Survey(storage_classes=CLASSES))
    assert (finding.state, finding.warns) == ("passed", True)
    assert finding.message == (
        "the cache of 150.0 GiB has room for the 100.0 GiB of the model, but not for a revision of other weights "
        "beside another: for that set spec.cache.size to 210Gi or more, where the storage class allows expansion"
    )
    assert not any(row.warns for row in check(a_cache(210, there=there), 100 * GIB, Survey(storage_classes=CLASSES)))


def test_a_shared_cache_needs_no_room_for_a_second_revision() -> None:
    """That one has a volume of its own."""
    assert list(check(a_cache(105, there=True, shared=True), 100 * GIB, Survey(storage_classes=CLASSES))) == []
