"""Going back with a shared cache: the model that served stays until another serves, or is fetched anew."""

from typing import Any

import pytest

from llama_operator.names import shared_claim
from llama_operator.plan.observed import Plan, PreflightResult
from llama_operator.plan.sharing import claim_ref, job_ref
from tests.support.operator_objects import REPO, a_report, report_on
from tests.support.rollouts import DEPLOYMENT, World

OLD, NEW = "a" * 40, "b" * 40
NEXT = {"repo": REPO, "revision": "next"}
GOLDEN = a_report("WarmUp", error={"reason": "GoldenPromptFailed", "message": "France: 'x' is not 'Paris'"})
REFUSED = PreflightResult(passed=False, reason="RevisionNotFound", message="there is no such revision")


class Shared(World):
    """A World whose Jobs complete, whose shared volumes go when they are let go, and whose Hub knows two commits."""

    def __init__(self, **spec: Any) -> None:
        super().__init__(cache={"shared": True}, **spec)

    def look(self, preflight: PreflightResult | None = None) -> Plan:
        """One step, and what the cluster does with it."""
        commit = NEW if self.body["spec"]["model"] == NEXT else OLD
        found = self.step(preflight=preflight or PreflightResult(commit=commit, model_bytes=80 * 2**30))
        for ref in found.release:
            self.children.pop(ref)
        return found

    def filled(self, commit: str) -> None:
        """Let the Job that fetches a commit be complete."""
        done = {"conditions": [{"type": "Complete", "status": "True"}]}
        self.children[job_ref(shared_claim(REPO, commit))]["status"] = done

    def fetched(self, commit: str) -> None:
        """Roll the present spec out as far as its Deployment."""
        self.look()
        self.look()
        self.filled(commit)
        self.look()

    @property
    def volumes(self) -> set[str]:
        """The commits whose volumes are there."""
        names = {shared_claim(REPO, commit): commit for commit in (OLD, NEW)}
        return {names[ref.name] for ref in self.children if ref.kind == "PersistentVolumeClaim"}

    @property
    def mounted(self) -> str:
        """The volume that the Deployment's pods have."""
        volumes: list[Any] = self.children[DEPLOYMENT]["spec"]["template"]["spec"]["volumes"]
        return next(row["persistentVolumeClaim"]["claimName"] for row in volumes if "persistentVolumeClaim" in row)


@pytest.fixture
def world() -> Shared:
    """One that serves its first revision, and rolls the next one out where the old pod leaves first."""
    found = Shared(rollout={"strategy": "Recreate"})
    found.fetched(OLD)
    found.complete()
    found.look()
    found.edit(model=NEXT)
    found.fetched(NEW)
    assert found.running == 2
    found.pods = ()  # the old one has left
    return found


def test_the_volume_that_served_stays_until_another_revision_serves(world: Shared) -> None:
    """Also while no pod and no live template has it: what may be gone back to is there."""
    world.look()
    assert world.volumes == {OLD, NEW}
    world.complete()
    world.look()
    world.look()
    assert world.volumes == {NEW}, "it is let go once it is not needed"


def test_a_failed_revision_goes_back_to_the_volume_that_is_still_there(world: Shared) -> None:
    """No Hub is asked, whatever the checks say of the spec; the failed revision's volume waits for a better spec."""
    world.starting(2, report=GOLDEN)
    world.look(REFUSED)
    world.look(REFUSED)
    assert (world.running, world.mounted) == (1, shared_claim(REPO, OLD))
    assert world.volumes == {OLD, NEW}


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_way_back_to_a_volume_that_is_gone_fetches_it_again_first(world: Shared, *, by_hand: bool) -> None:
    """No check of the spec holds it, what runs is left alone meanwhile, and it is said what is waited for."""
    lost = {claim_ref(shared_claim(REPO, OLD)), job_ref(shared_claim(REPO, OLD))}
    world.children = {ref: obj for ref, obj in world.children.items() if ref not in lost}
    if by_hand:
        world.edit(rollout={"rollbackTo": 1})
    else:
        world.starting(2, report=GOLDEN)
    assert shared_claim(REPO, OLD) == _applied(world.look(REFUSED), "PersistentVolumeClaim")
    waiting = world.look(REFUSED)
    assert waiting.waits
    assert shared_claim(REPO, OLD) == _applied(waiting, "Job")
    assert waiting.cache == shared_claim(REPO, OLD)
    assert "Deployment" not in [obj["kind"] for obj in waiting.apply]
    assert world.mounted == shared_claim(REPO, NEW)
    world.pods = ()
    told = {row["type"]: row for row in report_on(world.seen()).status["conditions"]}
    assert told["ModelCached"]["status"] == "False"
    if not by_hand:
        assert "revision 1 runs again once its model is fetched anew" in told["Degraded"]["message"]
    size = world.children[claim_ref(shared_claim(REPO, OLD))]["spec"]["resources"]["requests"]["storage"]
    assert size == "100Gi", "the size of the volume beside it, not a guess by the name"
    world.filled(OLD)
    world.look(REFUSED)
    assert (world.mounted, world.volumes) == (shared_claim(REPO, OLD), {OLD, NEW})
    told = {row["type"]: row for row in report_on(world.seen()).status["conditions"]}
    assert told["ModelCached"]["message"].startswith(
        f"{REPO} at main is in PersistentVolumeClaim {shared_claim(REPO, OLD)}"
    )


def test_a_private_volume_stays_too_until_what_replaces_it_serves() -> None:
    """A cache that becomes shared is another volume, and may fail as any change."""
    world = Shared()
    world.edit(cache={"shared": False})
    world.settle()
    world.edit(cache={"shared": True})
    private = claim_ref("llama-cache")
    world.look()
    world.look()
    assert private in world.children
    (job,) = [ref for ref in world.children if ref.kind == "Job"]
    world.children[job]["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    world.look()
    assert private in world.children
    world.complete()
    world.look()
    assert private not in world.children


def _applied(planned: Plan, kind: str) -> str:
    (obj,) = [obj for obj in planned.apply if obj["kind"] == kind]
    return obj["metadata"]["name"]
