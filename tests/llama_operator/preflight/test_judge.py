"""All checks over all facts: what is said first, what holds, what is only told."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from llama_operator import names
from llama_operator import preflight as package
from llama_operator.plan.observed import PreflightResult, SecretFact
from llama_operator.plan.refusals import sentence
from llama_operator.plan.survey import HUB_AWAY, HubRefusal, ModelShape, RefusalReason, Survey
from llama_operator.preflight.case import ask
from llama_operator.preflight.judge import judge
from llama_operator.status.reasons import REASONS
from tests.support.operator_objects import REPO, SETTINGS, a_body, a_secret, a_spec, applied, observed, plan
from tests.support.survey_objects import A100_40GB, COMMIT, LLAMA_70B, SURVEY, a_limit_range, a_node, a_quota

REF = {"name": "mine", "key": "token"}
UNREACHABLE = HubRefusal(reason="HubUnreachable", words="no answer in time")


def judged(
    survey: Survey = SURVEY,
    *,
    secret: SecretFact | None = None,
    children: Any = (),
    status: Any = None,
    on_demand: bool = False,
    **spec: Any,
) -> PreflightResult:
    """The result for a spec with these fields, on a cluster and a Hub of these facts."""
    seen = observed(body=a_body(status=status, **spec), secret=secret, children=children)
    case = ask(a_spec(**spec), seen, plan(seen), replace(SETTINGS, nodes_on_demand=on_demand))
    return judge(case, survey)


def states(result: PreflightResult) -> dict[str, str]:
    """The state of each check."""
    return {row.check: row.state for row in result.findings}


def test_the_seeds_case_passes_with_its_numbers() -> None:
    """Commit, licence and memory in one sentence."""
    found = judged()
    assert (found.passed, found.reason, found.holds) == (True, "ChecksPassed", False)
    assert found.message.startswith(
        f"every check passed: {REPO} is at commit e9149a128095, licence llama2, gated, access granted; {REPO} in "
        "float16 needs 142.2 GiB"
    )
    assert (found.commit, found.licence, found.model_bytes) == (COMMIT, "llama2", LLAMA_70B.total_bytes)
    assert set(states(found).values()) == {"passed"}


@pytest.mark.parametrize("fact", [None, SecretFact(name="mine", exists=False), a_secret("token", name="other")])
def test_a_named_secret_must_exist(fact: SecretFact | None) -> None:
    """The message names Secret and namespace and gives the command, with a file in place of the token."""
    found = judged(secret=fact, model={"repo": REPO, "tokenSecretRef": REF})
    assert (found.holds, found.reason) == (True, "SecretNotFound")
    assert "Secret mine, which is not in namespace models" in found.message
    assert "kubectl create secret generic mine --from-file=token=FILE" in found.message


def test_a_named_key_must_exist() -> None:
    """The message names the key that is missing and the ones that are there."""
    secret = a_secret("password", "user", name="mine")
    found = judged(secret=secret, model={"repo": REPO, "tokenSecretRef": REF})
    assert (found.holds, found.reason) == (True, "SecretKeyNotFound")
    assert "no key token (its keys: password, user)" in found.message


def test_an_unnamed_secret_may_be_absent() -> None:
    """A public model needs no token."""
    assert judged().passed
    assert judged(secret=a_secret("token", name="mine"), model={"repo": REPO, "tokenSecretRef": REF}).passed


ASK_AGAIN = "it is tried again by itself"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("TokenMissing", "Secret hf-access-token does not exist: create it with kubectl create secret"),
        ("TokenRejected", "does not accept the token in Secret hf-access-token, key hf_access_token"),
        ("AccessDenied", "accept the licence on the model's page with that account"),
        ("RepositoryNotFound", f"has no repository {REPO}"),
        ("RevisionNotFound", "has no revision main: set spec.model.revision"),
        ("NotAModel", "is no model but (what it found): name a model in spec.model.repo"),
        ("NoSafetensors", "no weights in safetensors, as transformers saves them, but (what it found): name a repo"),
        ("NoTokenizer", "has no tokenizer ((what it found)): name a repository or revision that has one"),
        ("BrokenRepository", "is broken ((what it found)): name another revision in spec.model.revision"),
        ("UnsupportedArchitecture", "(what it found)"),
        ("HubUnreachable", "does not answer ((what it found)): let the cluster reach it, or name a mirror"),
        ("HubTimedOut", "as where a firewall or a network policy drops what is sent: let the cluster reach it, name a"),
        ("HubNameUnknown", "the name of the Hub is not known to the cluster's DNS: let it resolve names outside"),
        ("HubNotTrusted", "the authority of its certificate in SSL_CERT_FILE, or name a mirror in spec.model.endpoint"),
        ("HubRateLimited", f"{ASK_AGAIN}; a token in Secret hf-access-token raises the limit"),
        ("HubFailing", f"the Hub has trouble of its own ((what it found)): {ASK_AGAIN}; if it lasts, name a mirror"),
        ("ProxyFailed", "correct HTTPS_PROXY, or except the Hub in NO_PROXY, for the operator and for the pods"),
        ("NotAHub", "what answers in place of the Hub is none ((what it found)): name a mirror in spec.model.endpoint"),
    ],
)
def test_what_the_hub_refuses_holds_with_what_to_do(reason: Any, words: str) -> None:
    """Before the first pod also where the Hub does not answer: it is tried until it does. Each has its own fix."""
    found = judged(replace(SURVEY, model=HubRefusal(reason=reason, words="(what it found)")))
    assert (found.holds, found.reason) == (True, reason)
    assert words in found.message


def test_every_reason_of_a_hub_has_its_own_sentence() -> None:
    """None is told as another."""
    said = {row: sentence(row, a_spec(), None, "words") for row in get_args(RefusalReason)}
    assert None not in said.values()
    assert len(set(said.values())) == len(said)
    assert set(get_args(RefusalReason)) > HUB_AWAY


def test_who_has_a_token_and_is_limited_is_not_told_to_get_one() -> None:
    """The limit is then that of its account."""
    limited = replace(SURVEY, model=HubRefusal(reason="HubRateLimited", words="status 429"))
    found = judged(limited, secret=a_secret("hf_access_token", name="hf-access-token"))
    assert "the limit is that of the token in Secret hf-access-token, key hf_access_token" in found.message


def test_a_mirror_that_fails_is_to_be_corrected() -> None:
    """The field that the user wrote, not one to write."""
    away = replace(SURVEY, model=HubRefusal(reason="HubNameUnknown", words="no such name"))
    found = judged(away, model={"repo": REPO, "endpoint": "https://hub.exmaple"})
    assert "the name of the Hub at https://hub.exmaple is not known" in found.message
    assert found.message.endswith("or correct spec.model.endpoint")


def test_what_was_found_says_what_to_do() -> None:
    """Rather than what is usual for the reason."""
    adapter = HubRefusal(reason="NotAModel", words="an adapter (LORA) for acme/base", fix="name acme/base")
    assert judged(replace(SURVEY, model=adapter)).message == (
        f"{REPO} at main is no model but an adapter (LORA) for acme/base: name acme/base"
    )


def test_a_model_without_a_chat_template_is_noted_and_not_held() -> None:
    """It goes on with prompts as well as any other."""
    assert LLAMA_70B.chat_template is None
    for known, noted in ((False, True), (True, False), (None, False)):
        found = judged(replace(SURVEY, model=replace(LLAMA_70B, chat_template=known)))
        assert found.passed
        assert ("without a chat template" in found.message) is noted


def test_a_model_that_is_in_the_cache_needs_no_hub() -> None:
    """An outage holds up neither a scale-up nor a Deployment that was deleted."""
    children = plan(observed(), preflight=PreflightResult(commit=COMMIT)).desired
    cached = {
        "revision": {"repo": REPO, "requested": "main", "commit": COMMIT},
        "conditions": [{"type": "ModelCached", "status": "True"}],
    }
    gone = replace(SURVEY, model=UNREACHABLE)
    found = judged(gone, children=children, status=cached, replicas=3)
    assert (found.holds, states(found)["Model"]) == (False, "unknown")
    assert "at commit e9149a128095; meanwhile the Hub" in found.message
    assert "not known, see status.preflight: Model" in found.message
    assert not judged(gone, children=[obj for obj in children if obj["kind"] != "Deployment"], status=cached).holds
    assert judged(gone, children=children, status={**cached, "conditions": []}, replicas=3).holds
    assert judged(gone, children=children, status=cached, model={"repo": REPO, "revision": "v2"}).holds


def served(outcome: str = "Succeeded") -> tuple[list[Any], dict[str, Any]]:
    """A model that serves, or whose rollout became something else: what there is of it, and its status."""
    children = [
        _told(obj, outcome) if obj["kind"] == "ControllerRevision" else obj
        for obj in plan(observed(), preflight=PreflightResult(commit=COMMIT)).desired
    ]
    revision = {"repo": REPO, "requested": "main", "commit": COMMIT}
    return children, {"revision": revision, "conditions": [{"type": "ModelCached", "status": "True"}]}


def _told(obj: Any, outcome: str) -> Any:
    annotations = {names.ANNOTATION_ROLLOUT: json.dumps({"outcome": outcome})}
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


@pytest.mark.parametrize("left_out", [(), ("Deployment",)], ids=["a scale-up", "a Deployment that was deleted"])
def test_more_of_what_has_served_does_not_wait_for_the_hub_to_answer(left_out: tuple[str, ...]) -> None:
    """Nor after the operator has started anew, which remembers no answer; the condition says so."""
    children, status = served()
    left = [obj for obj in children if obj["kind"] not in left_out]
    found = judged(replace(SURVEY, model=None), children=left, status=status, replicas=3)
    assert (found.holds, found.reason, states(found)["Model"]) == (False, "ChecksPassed", "unknown")
    assert (
        f"{REPO} is in the cache, and pods start from there, at commit e9149a128095; the Hub at https://huggingface.co "
        "has not answered yet"
    ) in found.message
    assert "not known, see status.preflight: Model" in found.message


@pytest.mark.parametrize(
    ("outcome", "without", "spec"),
    [
        ("Progressing", (), {}),
        ("Succeeded", ("PersistentVolumeClaim",), {}),
        ("Succeeded", (), {"engine": {"maxContextTokens": 100}}),
        ("Succeeded", (), {"model": {"repo": REPO, "revision": "v2"}}),
    ],
    ids=["pods that never were ready", "no cache", "other pods", "another revision"],
)
def test_what_has_not_served_waits_for_the_hubs_answer(
    outcome: str, without: tuple[str, ...], spec: dict[str, Any]
) -> None:
    """It tells whether they fit; where it gives none within seconds, the cache suffices as before."""
    children, status = served(outcome)
    left = [obj for obj in children if obj["kind"] not in without]
    found = judged(replace(SURVEY, model=None), children=left, status=status, replicas=3, **spec)
    assert (found.holds, found.reason) == (True, "Checking")


def test_the_hub_is_asked_about_the_commit_that_runs() -> None:
    """And not about where the branch has gone since."""
    seen = observed(children=plan(observed(), preflight=PreflightResult(commit=COMMIT)).desired)
    assert ask(a_spec(), seen, plan(seen), SETTINGS).question.revision == COMMIT
    assert ask(a_spec(), observed(), plan(observed()), SETTINGS).question.revision == "main"


@pytest.mark.parametrize(
    ("spec", "operator", "endpoint"),
    [
        ({"endpoint": "http://mirror"}, "http://theirs", "http://mirror"),
        ({}, "http://theirs", "http://theirs"),
        ({}, None, "https://huggingface.co"),
    ],
)
def test_the_hub_is_the_one_that_the_pods_would_ask(spec: dict[str, str], operator: str | None, endpoint: str) -> None:
    """The spec's, else the operator's, else the public one."""
    seen, settings = observed(body=a_body(model={"repo": REPO, **spec})), replace(SETTINGS, hub_endpoint=operator)
    asked = ask(a_spec(model={"repo": REPO, **spec}), seen, plan(seen), settings)
    assert asked.question.endpoint == endpoint


FAILING: list[tuple[str, Survey, dict[str, Any]]] = [
    ("UnsupportedArchitecture", replace(SURVEY, model=replace(LLAMA_70B, shape=ModelShape(model_type="t5"))), {}),
    ("ModelDoesNotFit", SURVEY, {"resources": {"gpu": {"count": 1}}}),
    ("ModelDoesNotFit", SURVEY, {"resources": {"gpu": {"memory": "40Gi"}}}),
    ("ModelDoesNotFit", replace(SURVEY, nodes=(a_node(), a_node("small", product=A100_40GB))), {}),
    ("ModelDoesNotFit", SURVEY, {"engine": {"maxConcurrentSequences": 64}}),
    ("ModelDoesNotFit", SURVEY, {"resources": {"gpu": {"count": 0}, "memoryLimit": "8Gi"}}),
    ("NoGpuNode", replace(SURVEY, nodes=(a_node(gpus=0, product=None),)), {}),
    ("NoNodeWithProduct", replace(SURVEY, nodes=(a_node(product="Tesla-T4"),)), {}),
    ("TooManyGpus", SURVEY, {"resources": {"gpu": {"count": 16}}}),
    ("NoMatchingNode", SURVEY, {"scheduling": {"nodeSelector": {"zone": "b"}}}),
    ("NodesTainted", replace(SURVEY, nodes=(a_node(taints=({"key": "x", "effect": "NoSchedule"},)),)), {}),
    ("NodeTooSmall", SURVEY, {"resources": {"cpu": "128"}}),
    ("QuotaTooSmall", replace(SURVEY, quotas=(a_quota({"requests.nvidia.com/gpu": "1"}),)), {}),
    ("QuotaTooSmall", replace(SURVEY, quotas=(a_quota({"requests.storage": "10Gi"}),)), {}),
    ("LimitRangeExceeded", replace(SURVEY, limit_ranges=(a_limit_range(max={"cpu": "100m"}),)), {}),
    *(
        (f"{kind}ClassNotFound", replace(SURVEY, absent_classes=frozenset({"x"})), {"scheduling": {field: "x"}})
        for kind, field in (("Priority", "priorityClassName"), ("Runtime", "runtimeClassName"))
    ),
    ("StorageClassNotFound", SURVEY, {"cache": {"storageClassName": "gone"}}),
    ("CacheTooSmall", SURVEY, {"cache": {"size": "50Gi"}}),
    (
        "ModelClaimNotFound",
        replace(SURVEY, model=None, volume_there=False),
        {"model": {"repo": REPO, "source": "pvc", "claim": {"name": "weights"}}},
    ),
    (
        "PullSecretNotFound",
        replace(SURVEY, absent_secrets=frozenset({"registry"})),
        {"podTemplate": {"spec": {"imagePullSecrets": [{"name": "registry"}]}}},
    ),
]


@pytest.mark.parametrize(("reason", "survey", "spec"), FAILING, ids=[row[0] for row in FAILING])
def test_each_check_is_made_on_what_would_be_created(reason: str, survey: Survey, spec: dict[str, Any]) -> None:
    """By the fields of the spec that lead to it; its reason has a row in the table."""
    found = judged(survey, **spec)
    assert (found.holds, found.reason) == (True, reason)
    assert "PreflightPassed" in REASONS[reason].conditions  # pyright: ignore[reportArgumentType]


def test_every_reason_that_a_check_gives_is_tested_here() -> None:
    """A new one is added to the list above, and thereby to the table of reasons."""
    written = "".join(path.read_text() for path in Path(package.__path__[0]).glob("*.py"))
    given = set(re.findall(r'failed\(\s*"\w+",\s*"(\w+)"', written))
    assert given == {row[0] for row in FAILING} | {"SecretNotFound", "SecretKeyNotFound"}


@pytest.mark.parametrize(
    ("spec", "sequences"),
    [
        ({}, 4),
        ({"generation": {"defaults": {"num_beams": 2}}}, 2),
        ({"engine": {"maxConcurrentSequences": 8}, "generation": {"defaults": {"num_beams": 2}}}, 8),
    ],
)
def test_room_is_kept_for_one_request_or_for_as_many_sequences_as_the_spec_says(
    spec: dict[str, Any], sequences: int
) -> None:
    """A request with its default beams has to fit in any case."""
    assert f"for {sequences} sequences of 4096 tokens" in judged(**spec).message


def test_what_a_limit_range_fills_in_is_what_a_quota_counts() -> None:
    """As the API server would: a limit that the spec leaves out may come from there."""
    counted = replace(SURVEY, quotas=(a_quota({"limits.memory": "8Gi"}),))
    assert judged(counted).reason == "QuotaTooSmall"
    assert judged(replace(counted, limit_ranges=(a_limit_range(default={"memory": "4Gi"}),))).passed


def test_the_first_failure_is_said_and_the_others_are_named() -> None:
    """In the order in which a person would mend them."""
    survey = Survey(model=LLAMA_70B, nodes=(), quotas=(a_quota({"pods": "0"}),), limit_ranges=(), storage_classes={})
    found = judged(survey, resources={"gpu": {"count": 1}})
    assert found.reason == "ModelDoesNotFit"
    assert found.message.endswith("(then also: NoMatchingNode, QuotaTooSmall, StorageClassNotFound)")


def test_what_may_not_be_read_is_unknown_and_holds_nothing() -> None:
    """And is listed, so that nobody takes it for checked."""
    found = judged(Survey(model=LLAMA_70B))
    assert not found.holds
    assert states(found) == {
        "Model": "passed",
        "Architecture": "passed",
        "Memory": "passed",
        "Node": "unknown",
        "Quota": "unknown",
        "Storage": "unknown",
    }
    assert found.message.endswith("not known, see status.preflight: Node, Quota, Storage")


def test_while_the_hub_is_being_asked_nothing_is_claimed_in_any_mode() -> None:
    """Its answer is a second away, and with it the commit."""
    for mode in ("enforce", "warn"):
        found = judged(replace(SURVEY, model=None), preflight={"mode": mode})
        assert (found.holds, found.reason) == (True, "Checking")
    failing = judged(replace(SURVEY, model=None, nodes=()))
    assert failing.reason == "NoMatchingNode"


def test_a_warning_holds_nothing() -> None:
    """It says the same."""
    found = judged(resources={"gpu": {"count": 1}}, preflight={"mode": "warn"})
    assert (found.passed, found.holds, found.reason) == (False, False, "ModelDoesNotFit")


def test_where_nodes_come_on_demand_a_missing_one_holds_nothing() -> None:
    """They come when a pod waits for them; what no node could hold is held all the same."""
    nowhere = replace(SURVEY, nodes=())
    found = judged(nowhere, on_demand=True)
    assert (found.holds, states(found)["Node"]) == (False, "unknown")
    assert judged(nowhere, on_demand=True, resources={"gpu": {"count": 1}}).reason == "ModelDoesNotFit"


def test_a_cache_that_is_there_is_judged_by_what_it_holds() -> None:
    """Its claim is neither quota's nor storage class's business any more; its size is."""
    children = [obj for obj in applied(a_body(cache={"size": "50Gi"})) if obj["kind"] == "PersistentVolumeClaim"]
    survey = replace(SURVEY, storage_classes={}, quotas=(a_quota({"requests.storage": "1Gi"}),))
    assert judged(survey, children=children).reason == "CacheTooSmall"
    assert judged(survey, children=children, cache={"size": "200Gi"}).passed


@pytest.mark.parametrize("there", [True, False])
def test_a_cache_for_one_revision_passes_with_a_word_of_the_second(there: bool) -> None:
    """Whether it is asked for or there from an earlier version, whose default had room for one."""
    children = [obj for obj in applied(a_body(cache={"size": "150Gi"})) if obj["kind"] == "PersistentVolumeClaim"]
    found = judged(children=children) if there else judged(cache={"size": "150Gi"})
    assert (found.passed, states(found)["Storage"]) == (True, "passed")
    assert found.message.endswith("set spec.cache.size to 270Gi or more, where the storage class allows expansion")
    assert "spec.cache.size" not in judged().message
    assert "spec.cache.size" not in judged(cache={"size": "150Gi", "shared": True}).message


def test_a_long_message_is_cut() -> None:
    """A status has an end; a cluster may have any number of storage classes."""
    survey = replace(SURVEY, storage_classes={f"class-{number:04}": False for number in range(1000)})
    assert len(judged(survey).message) < 1100


@pytest.mark.parametrize("model", [None, UNREACHABLE])
def test_an_engine_without_a_model_asks_nothing_of_the_hub(model: HubRefusal | None) -> None:
    """A mock starts where there is no Hub, and still needs its node, quota and volume."""
    found = judged(replace(SURVEY, model=model), engine={"name": "mock"})
    assert (found.passed, found.reason) == (True, "ChecksPassed")
    assert states(found)["Model"] == "passed"
    assert "Memory" not in states(found)
    short = judged(replace(SURVEY, model=model, nodes=()), engine={"name": "mock"})
    assert not short.passed


@pytest.mark.parametrize(
    ("scheduling", "template", "reason", "field"),
    [
        ({"priorityClassName": "urgent"}, {}, "PriorityClassNotFound", "correct spec.scheduling.priorityClassName"),
        ({}, {"priorityClassName": "urgent"}, "PriorityClassNotFound", "correct priorityClassName in spec.podTemplate"),
        ({"runtimeClassName": "urgent"}, {}, "RuntimeClassNotFound", "correct spec.scheduling.runtimeClassName"),
    ],
)
def test_a_class_that_is_not_there_is_told_before_anything_is_made(
    scheduling: Any, template: Any, reason: str, field: str
) -> None:
    """By the field that names it; one that nobody names does not matter."""
    absent = replace(SURVEY, absent_classes=frozenset({"urgent"}))
    found = judged(absent, scheduling=scheduling, podTemplate={"spec": template})
    assert (found.holds, found.reason) == (True, reason)
    assert field in found.message
    assert judged(absent).passed
