"""What the status says of rollouts: the history with what changed, and how pods are being replaced."""

from typing import Any

from llama_operator.plan.history import Revision
from llama_operator.status.history import changes
from tests.support.operator_objects import a_pod, a_report, answers, condition, ready, report_on
from tests.support.rollouts import DEPLOYMENT, World

GOLDEN = a_report("WarmUp", error={"reason": "GoldenPromptFailed", "message": "not 'Paris'"})


def a_revision(spec: Any, *, image: str = "server:1", commit: str = "main", name: str = "inference") -> Revision:
    """A rollout of a spec."""
    env = [{"name": "LLAMA_INFERENCE_REVISION", "value": commit}]
    template = {"spec": {"containers": [{"name": name, "image": image, "env": env}]}}
    return Revision(number=1, template=template, annotations={}, intent="", spec=spec, started="")


def changed(old: Any, new: Any) -> dict[str, tuple[str | None, str | None]]:
    """Each path that changed, with its old and new value."""
    return {row.path: (row.old, row.new) for row in changes(a_revision(old), a_revision(new))}


def test_changes_are_paths_of_the_spec() -> None:
    """Set, changed and taken away, at any depth; a list as a whole."""
    old = {"engine": {"dtype": "float16", "args": ["--a"]}, "scheduling": {"nodeSelector": {"zone": "a"}}}
    new = {"engine": {"dtype": "float32", "args": ["--a", "--b"]}, "generation": {"defaults": {"top_k": 5}}}
    assert changed(old, new) == {
        "spec.engine.args": ('["--a"]', '["--a", "--b"]'),
        "spec.engine.dtype": ("float16", "float32"),
        "spec.generation.defaults.top_k": (None, "5"),
        "spec.scheduling.nodeSelector.zone": ("a", None),
    }


def test_a_long_value_is_cut() -> None:
    """The status is no place for whole templates."""
    ((_, new),) = changed({"podTemplate": {"x": "a"}}, {"podTemplate": {"x": "b" * 500}}).values()
    assert new is not None
    assert (len(new), new[-1]) == (120, "…")


def test_what_the_spec_left_open_is_told_too() -> None:
    """A rollout may bring a newer default image, or another commit of the same branch."""
    old, new = a_revision({}), a_revision({}, image="server:2", commit="f" * 40)
    assert [(row.path, row.old, row.new) for row in changes(old, new)] == [
        ("status.engineImage", "server:1", "server:2"),
        ("status.revision.commit", "main", "f" * 40),
    ]


def progress(world: World) -> str:
    """The message of the condition."""
    return next(row for row in world.report()["conditions"] if row["type"] == "Progressing")["message"]


def rolling(**spec: Any) -> World:
    """A LlamaDeployment in the middle of its second rollout."""
    world = World(replicas=2, **spec)
    world.settle()
    world.edit(engine={"dtype": "float32"})
    world.step()
    world.status(replicas=3, updatedReplicas=1, availableReplicas=2)
    return world


def test_progress_says_how_pods_are_replaced_and_why_so() -> None:
    """With the GPUs where they decided it."""
    world = rolling()
    assert progress(world) == (
        "1 of 2 pods run revision 2; a new pod is ready before an old one stops, for GPUs were free"
    )
    limits = {"maxSurge": 0, "maxUnavailable": 1}
    world.children[DEPLOYMENT]["spec"]["strategy"]["rollingUpdate"] = limits
    assert progress(world).endswith(
        "; an old pod stops before a new one starts, for no node had 2 nvidia.com/gpu free for one more"
    )
    assert progress(rolling(rollout={"maxSurge": 1})).endswith("; a new pod is ready before an old one stops")


def test_a_paused_rollout_says_where_it_stands() -> None:
    """It is no progress, nobody is asked to look again, and one field lets it go on."""
    world = rolling()
    world.edit(rollout={"paused": True})
    world.step()
    world.status(replicas=3, updatedReplicas=1, availableReplicas=2)
    world.pods = (ready(a_pod("old-1")), ready(a_pod("old-2")))
    found = report_on(world.seen())
    assert condition(found, "Progressing")["status"] == "False"
    assert condition(found, "Progressing")["reason"] == "Paused"
    assert "holds it at 1 of 2 pods" in condition(found, "Progressing")["message"]
    assert found.requeue_after is None
    assert world.children[DEPLOYMENT]["spec"]["paused"] is True


def test_pods_of_the_template_before_are_not_counted() -> None:
    """Neither when a rollout is begun, nor until the Deployment's controller has seen it."""
    world = World(replicas=2)
    world.settle()
    world.edit(engine={"dtype": "bfloat16"})
    assert progress(world).startswith("0 of 2 pods run revision 2")
    world.step()
    assert progress(world).startswith("0 of 2 pods run revision 2")


def test_going_back_is_told_once() -> None:
    """One Warning event with the reason, however often it is looked at."""
    world = rolling()
    world.starting(2, report=GOLDEN)
    first = report_on(world.seen())
    (event,) = [row for row in first.events if row.reason == "RolledBack"]
    assert event.type == "Warning"
    assert "GoldenPromptFailed" in event.message
    world.body = {**world.body, "status": first.status}
    world.step()
    assert [row for row in report_on(world.seen()).events if row.reason == "RolledBack"] == []


def test_the_revision_of_the_model_is_the_one_that_runs_again() -> None:
    """Not the one that failed."""
    world = World(model={"repo": "org/good"})
    world.settle()
    world.edit(model={"repo": "org/bad"})
    world.step()
    world.starting(2, report=GOLDEN)
    world.step()
    assert world.report()["revision"]["repo"] == "org/good"


def test_a_deployment_that_went_back_is_degraded_and_serves() -> None:
    """Somebody has to change the spec; nobody has to hurry."""
    world = rolling()
    world.starting(2, report=GOLDEN)
    world.step()
    world.complete()
    found = world.report()
    assert (found["phase"], found["ready"]) == ("Degraded", "2/2")
    assert world.answers()["Progressing"] == "False Settled"
    assert world.answers()["Degraded"] == "True RolledBack"


OLD, NEW = "a" * 40, "b" * 40


def changing_model(startup: Any = None) -> World:
    """Another model of the Hub on its way beside a pod that serves the one before."""
    world = World(model={"repo": "org/old", "revision": OLD})
    world.settle()
    world.edit(model={"repo": "org/new", "revision": NEW})
    world.step()
    old = ready(a_pod("old"))
    world.starting(2, report=startup)
    world.pods = (old, *world.pods)
    return world


def test_another_model_is_not_cached_while_new_pods_fetch_it_beside_old_ones() -> None:
    """How far its download is, and that what serves goes on; callers notice nothing."""
    found = report_on(changing_model(a_report("Download", bytes_done=10**9, bytes_total=4 * 10**9)).seen())
    assert answers(found)["ModelCached"] == "False Downloading"
    assert condition(found, "ModelCached")["message"] == (
        f"org/new at {NEW} is being fetched: 25% of 4.0 GB; the pods that are ready go on serving org/old at {OLD}"
    )
    assert (answers(found)["Available"], answers(found)["ModelLoaded"]) == ("True Serving", "True Loaded")
    assert answers(found)["Degraded"] == "False AllWell"


def test_another_model_is_not_cached_before_a_pod_of_it_has_started() -> None:
    """Neither when the spec was just edited: nobody has looked for it yet."""
    world = World(model={"repo": "org/old", "revision": OLD})
    world.settle()
    assert world.answers()["ModelCached"] == "True Cached"
    world.edit(model={"repo": "org/new", "revision": NEW})
    world.body = {**world.body, "status": world.report()}
    found = report_on(world.seen())
    assert answers(found)["ModelCached"] == "False Waiting"
    assert condition(found, "ModelCached")["message"].endswith(f"go on serving org/old at {OLD}")


def test_another_model_waits_for_the_end_of_a_pause() -> None:
    """No pod of it is made before."""
    world = World(model={"repo": "org/old", "revision": OLD})
    world.settle()
    world.edit(model={"repo": "org/new", "revision": NEW}, rollout={"paused": True})
    world.step()
    row = condition(report_on(world.seen()), "ModelCached")
    assert row["message"].startswith("waits until spec.rollout.paused is false; the pods that are ready go on serving")


def test_another_model_is_cached_once_a_new_pod_has_it() -> None:
    """While it is loaded, and when that pod is ready, though the next one looks for what is there."""
    assert changing_model(a_report("Load")).answers()["ModelCached"] == "True Cached"
    world = changing_model(a_report("Resolve"))
    assert world.answers()["ModelCached"] == "False Downloading"
    done = ready(a_pod("first"))
    done["metadata"]["ownerReferences"] = [{"uid": "set-2"}]
    world.pods = (done, *world.pods)
    assert world.answers()["ModelCached"] == "True Cached"
    world.complete()
    assert world.answers()["ModelCached"] == "True Cached"


def test_the_same_model_stays_cached_while_pods_are_replaced() -> None:
    """A rollout of anything else fetches nothing."""
    world = World(model={"repo": "org/old", "revision": OLD})
    world.settle()
    world.edit(engine={"dtype": "bfloat16"})
    world.step()
    world.starting(2, report=a_report("Resolve"))
    world.pods = (ready(a_pod("old")), *world.pods)
    assert world.answers()["ModelCached"] == "True Cached"


def test_pods_that_go_back_have_their_model_in_the_cache() -> None:
    """The model of the revision that failed is asked for no more."""
    world = changing_model(a_report("Download"))
    world.edit(rollout={"rollbackTo": 1})
    assert world.answers()["ModelCached"] == "True Cached"
