"""The life of the process: who leads, how it ends, what a restart and a lost API server do."""

import http.client
import json
import threading
from pathlib import Path

import pytest

from llama_operator.cluster.permissions import PERMISSIONS
from tests.integration.accounts import add_account, grant, kubeconfig_of
from tests.integration.hub import REPO, TOKEN, checked
from tests.integration.operator_process import LEASE_SECONDS, Start
from tests.integration.proxy import ApiProxy
from tests.support.cluster import LLAMA, Namespace, a_llama, eventually
from tests.support.hub import HubServer
from tests.support.operator_metrics import documented, exposed

pytestmark = pytest.mark.cluster


def holder(home: Namespace, lease: str) -> str:
    """Who holds a Lease."""
    return (home.get("lease", lease) or {"spec": {}})["spec"].get("holderIdentity", "")


def versions(space: Namespace) -> dict[str, str]:
    """The versions of everything that a LlamaDeployment has, its pods too."""
    kinds = ("serviceaccount", "persistentvolumeclaim", "service", "deployment", "pod")
    return {
        f"{kind} {obj['metadata']['name']}": obj["metadata"]["resourceVersion"]
        for kind in kinds
        for obj in space.list(kind, "llama-operator.dev/deployment=llama")
    }


def test_sigterm_ends_the_leader_at_once(everywhere: None, home: Namespace, start: Start) -> None:
    """With code 0, the Lease given back, though a scraper keeps its connection open."""
    process = start(LEASE_NAME="sigterm").reaches("leading")
    scraper = http.client.HTTPConnection("127.0.0.1", process.port)
    scraper.request("GET", "/metrics")
    assert "llama_operator_leading 1.0" in scraper.getresponse().read().decode()
    assert holder(home, "sigterm")
    code, seconds = process.stop()
    scraper.close()
    assert (code, holder(home, "sigterm")) == (0, "")
    assert seconds < 3
    assert '"error"' not in process.said


def test_a_killed_leader_is_followed(everywhere: None, home: Namespace, start: Start, space: Namespace) -> None:
    """By the one that stood by; it finds everything as it is, and goes on from there."""
    first = start(LEASE_NAME="killed").reaches("leading")
    second = start(LEASE_NAME="killed").reaches("standing by")
    space.apply(a_llama(replicas=0))
    space.condition("llama", "Progressing", "False Stopped")
    before, leader = versions(space), holder(home, "killed")
    assert second.state() == "standing by"
    assert second.metric("llama_operator_reconcile_seconds_count") == 0
    first.kill()
    second.reaches("leading", seconds=3 * LEASE_SECONDS)
    assert holder(home, "killed") not in ("", leader)
    space.patch(LLAMA, "llama", {"spec": {"service": {"port": 81}}})
    eventually("it is served", lambda: space.there("service", "llama")["spec"]["ports"][0]["port"] == 81)
    unchanged = {name: version for name, version in before.items() if not name.startswith("service ")}
    assert unchanged.items() <= versions(space).items()


def test_one_that_stands_by_ends_at_once(everywhere: None, home: Namespace, start: Start) -> None:
    """And takes nothing from the leader."""
    start(LEASE_NAME="standby").reaches("leading")
    leader = holder(home, "standby")
    code, seconds = start(LEASE_NAME="standby").reaches("standing by").stop()
    assert (code, holder(home, "standby")) == (0, leader)
    assert seconds < 3


def test_readiness_is_a_status_code(everywhere: None, start: Start, api: ApiProxy) -> None:
    """200 for the one that leads and for the one that stands by; 503, and alive, while it gives the Lease back."""
    process = start(LEASE_NAME="ready").reaches("leading")
    other = start(LEASE_NAME="ready").reaches("standing by")
    assert [one.ask("/readyz")[0] for one in (process, other)] == [200, 200]
    other.kill()
    goes_on = threading.Event()
    # The proxy answers nobody meanwhile.
    api.fails = lambda request: request.writes and "/leases/ready" in request.path and not goes_on.wait(60)
    try:
        process.process.terminate()
        eventually("it is not ready any more", lambda: process.ask("/readyz")[0] == 503)
        assert process.ask("/healthz")[0] == 200
    finally:
        goes_on.set()
        api.fails = lambda _: False
    process.process.wait(30)


def test_an_upgrade_restarts_no_pod(everywhere: None, start: Start, space: Namespace, api: ApiProxy) -> None:
    """Another process with another default image looks at everything and writes nothing."""
    process = start(LEASE_NAME="upgrade").reaches("leading")
    space.apply(a_llama())
    space.condition("llama", "PodsScheduled", "False NoMatchingNode")
    process.stop()
    before, asked = versions(space), len(api.requests)
    assert any(name.startswith("pod ") for name in before)
    upgraded = start(LEASE_NAME="upgrade", INFERENCE_IMAGE="llama-inference:2").reaches("leading")
    ok = 'llama_operator_reconciles_total{result="ok"}'
    eventually("it has looked twice", lambda: upgraded.metric(ok) >= 2)
    assert [request for request in api.requests[asked:] if request.writes and space.name in request.path] == []
    assert versions(space) == before
    container = space.there("deployment", "llama")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "llama-inference:1"


def test_everything_is_looked_at_from_time_to_time(
    everywhere: None, start: Start, space: Namespace, api: ApiProxy
) -> None:
    """A watch may lose an event; a settled deployment is looked at all the same, and nothing is written."""
    start(LEASE_NAME="resync", RESYNC_SECONDS="1").reaches("leading")
    space.apply(a_llama(replicas=0))
    space.condition("llama", "Progressing", "False Stopped")
    own = f"/namespaces/{space.name}/llamadeployments/llama"

    def looks() -> int:
        return sum(request.path.endswith(own) for request in api.requests)

    def looked(times: int) -> None:
        before = looks()
        eventually("it is looked at again and again", lambda: looks() >= before + times)

    looked(2)  # what the first looks found is written by then
    asked = len(api.requests)
    looked(3)
    assert [request for request in api.requests[asked:] if request.writes and space.name in request.path] == []


def test_a_short_cut_is_survived(everywhere: None, start: Start, space: Namespace, api: ApiProxy) -> None:
    """The same process watches on, and sees what happened meanwhile."""
    process = start(LEASE_NAME="short").reaches("leading")
    api.cut()
    try:
        space.apply(a_llama(replicas=0))
        eventually("it has noticed", lambda: "the Lease is not renewed" in process.said)
    finally:
        api.mend()
    space.condition("llama", "Progressing", "False Stopped")
    assert process.process.poll() is None


def test_a_long_cut_ends_the_leader(everywhere: None, start: Start, api: ApiProxy) -> None:
    """Before anybody may follow it, with the reason; its pod starts it anew."""
    process = start(LEASE_NAME="long").reaches("leading")
    api.cut()
    try:
        assert process.process.wait(2 * LEASE_SECONDS) == 1
    finally:
        api.mend()
    assert process.said.splitlines()[-1] == "error: the Lease could not be renewed in time"


def test_it_waits_for_an_api_server_that_is_away(everywhere: None, start: Start, api: ApiProxy) -> None:
    """A process that starts earlier than the API server does not crash in circles."""
    api.cut()
    try:
        process = start(LEASE_NAME="away").reaches("standing by")
        eventually("it has asked", lambda: "cannot ask for leadership" in process.said)
    finally:
        api.mend()
    process.reaches("leading")


def test_named_namespaces_need_no_right_elsewhere(
    home: Namespace, start: Start, space: Namespace, api: ApiProxy, tmp_path: Path
) -> None:
    """Roles in these namespaces are enough, and what is elsewhere is not served."""
    add_account(home, "named")
    grant(space, [*PERMISSIONS["namespaced"], *PERMISSIONS["gateway"]], "named", home)
    named = kubeconfig_of("named", home, api, tmp_path)
    elsewhere = Namespace.create()
    try:
        elsewhere.apply(a_llama(replicas=0))
        start(kubeconfig=named, LEASE_NAME="named", WATCH_NAMESPACES=json.dumps([space.name])).reaches("leading")
        space.apply(a_llama(replicas=0))
        space.condition("llama", "Progressing", "False Stopped")
        space.run("delete", "service", "llama")
        space.there("service", "llama")
        assert "status" not in elsewhere.there(LLAMA, "llama")
    finally:
        elsewhere.delete()


def test_a_right_that_is_missing_is_told_in_the_status(
    home: Namespace, start: Start, space: Namespace, api: ApiProxy, tmp_path: Path
) -> None:
    """In the API server's words, until it is given."""
    secrets = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    add_account(home, "limited")
    rules = [*PERMISSIONS["namespaced"], *PERMISSIONS["gateway"]]
    grant(space, [rule for rule in rules if rule != secrets], "limited", home)
    limited = kubeconfig_of("limited", home, api, tmp_path)
    start(kubeconfig=limited, LEASE_NAME="limited", WATCH_NAMESPACES=json.dumps([space.name])).reaches("leading")
    space.apply(a_llama(replicas=0))
    row = space.condition("llama", "Accepted", "False OperatorForbidden")
    assert 'cannot get resource "secrets"' in row["message"]
    space.patch("role", "limited", {"rules": rules})
    space.patch(LLAMA, "llama", {"metadata": {"labels": {"look": "again"}}})
    space.condition("llama", "Accepted", "True SpecValid")
    api.forbidden.clear()


def test_without_the_right_to_watch_secrets_they_are_looked_at_again(
    home: Namespace, start: Start, space: Namespace, api: ApiProxy, *, hub: HubServer, tmp_path: Path
) -> None:
    """As often as without watches; the missing right is said once, and ends nothing."""
    add_account(home, "unwatching")
    grant(space, [*PERMISSIONS["namespaced"], *PERMISSIONS["gateway"]], "unwatching", home)
    limited = kubeconfig_of("unwatching", home, api, tmp_path)
    named = json.dumps([space.name])
    process = start(kubeconfig=limited, LEASE_NAME="unwatching", WATCH_NAMESPACES=named, HUB_ENDPOINT=hub.url)
    process.reaches("leading")
    try:
        space.apply(checked(model={"repo": REPO, "tokenSecretRef": {"name": "mine", "key": "token"}}))
        space.condition("llama", "PreflightPassed", "False SecretNotFound")
        eventually("it is said", lambda: "Secrets are not watched" in process.said)
        space.run("create", "secret", "generic", "mine", f"--from-literal=token={TOKEN}")
        space.condition("llama", "PreflightPassed", "True ChecksPassed")
        assert process.said.count("Secrets are not watched") == 1
    finally:
        api.forbidden.clear()


def test_without_gateways_the_operator_takes_none_of_their_rights(
    home: Namespace, start: Start, space: Namespace, api: ApiProxy, tmp_path: Path
) -> None:
    """It asks for nothing that it may not have, and tells who asks for a gateway."""
    add_account(home, "awake")
    grant(space, PERMISSIONS["namespaced"], "awake", home)
    awake = kubeconfig_of("awake", home, api, tmp_path)
    names = json.dumps([space.name])
    start(kubeconfig=awake, LEASE_NAME="awake", WATCH_NAMESPACES=names, GATEWAY_ENABLED="false").reaches("leading")
    space.apply(a_llama(replicas=0, scaling={"minReplicas": 0}))
    space.condition("llama", "Degraded", "True GatewayDisabled")
    space.patch(LLAMA, "llama", {"spec": {"scaling": {"minReplicas": 1}}})
    space.condition("llama", "Degraded", "False AllWell")


def test_a_running_operator_exposes_what_the_docs_list(everywhere: None, start: Start, space: Namespace) -> None:
    """Each metric of docs/operating.md and no other; what it does is counted, by verb of its requests."""
    process = start(LEASE_NAME="metrics").reaches("leading")
    space.apply(a_llama(replicas=0))
    space.condition("llama", "Progressing", "False Stopped")
    assert exposed(process.read("/metrics")) == documented()
    asked = 'llama_operator_api_requests_total{{code="2xx",verb="{}"}}'
    for verb in ("GET", "PATCH", "PUT"):
        # What it has written is seen a moment before it has the answer.
        eventually(f"{verb} is counted", lambda verb=verb: process.metric(asked.format(verb)) > 0)
    assert process.metric("llama_operator_reconcile_seconds_count") > 0
