"""The client on a server that behaves as an API server may: pages, refusals, nonsense, silence."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from llama_operator.cluster import watching
from llama_operator.cluster.access import access
from llama_operator.cluster.client import ApiCluster, connected
from llama_operator.cluster.resources import LLAMA, NETWORK_POLICY, POD, SECRET, SERVICE, SERVICE_MONITOR
from llama_operator.errors import ClusterError, NamespaceTerminatingError

TOKEN = "a-token-of-the-operator"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def a_kubeconfig(folder: Path, server: str, user: dict[str, Any] | None = None) -> Path:
    """A kubeconfig for a server, with a token unless `user` says otherwise."""
    path = folder / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "clusters": [{"name": "here", "cluster": {"server": server}}],
        "users": [{"name": "me", "user": {"token": TOKEN} if user is None else user}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Handler], Any]:
    """Opens the client on a server that answers with a handler."""

    @asynccontextmanager
    async def open_on(handler: Handler) -> AsyncGenerator[ApiCluster]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        async with TestServer(app) as server:
            monkeypatch.setenv("KUBECONFIG", str(a_kubeconfig(tmp_path, f"http://127.0.0.1:{server.port}")))
            async with connected() as cluster:
                yield cluster

    return open_on


async def test_of_a_long_list_only_a_part_need_be_kept(api: Callable[[Handler], Any]) -> None:
    """Each page is reduced before the next is read: all pods of a large cluster do not fit into memory whole."""
    kept: list[str] = []

    async def pages(request: web.Request) -> web.Response:
        last = "continue" in request.query
        assert kept == (["0"] if last else [])
        items = [{"metadata": {"name": str(int(last))}, "spec": {"large": "x" * 1000}}]
        return web.json_response({"metadata": {} if last else {"continue": "more"}, "items": items})

    def part(obj: Any) -> Any:
        kept.append(obj["metadata"]["name"])
        return {"name": obj["metadata"]["name"]}

    async with api(pages) as cluster:
        assert await cluster.list(POD, part=part) == [{"name": "0"}, {"name": "1"}]


async def test_a_long_list_is_read_page_by_page(api: Callable[[Handler], Any]) -> None:
    """Each item gets the kind that lists leave out."""
    queries: list[dict[str, str]] = []

    async def pages(request: web.Request) -> web.Response:
        queries.append(dict(request.query))
        last = "continue" in request.query
        items = [{"metadata": {"name": "b" if last else "a"}}]
        return web.json_response({"metadata": {} if last else {"continue": "more"}, "items": items})

    async with api(pages) as cluster:
        found = await cluster.list(POD, "models", labels={"a/b": "c", "d": "e"}, fields="type=Warning")
    assert [(obj["kind"], obj["apiVersion"], obj["metadata"]["name"]) for obj in found] == [
        ("Pod", "v1", "a"),
        ("Pod", "v1", "b"),
    ]
    assert queries[0] == {"limit": "500", "labelSelector": "a/b=c,d=e", "fieldSelector": "type=Warning"}
    assert queries[1]["continue"] == "more"


async def test_what_is_not_there_is_none(api: Callable[[Handler], Any]) -> None:
    """Absence is an answer, not an error."""

    async def nothing(_: web.Request) -> web.Response:
        return web.json_response({"kind": "Status", "message": "not found", "code": 404}, status=404)

    async with api(nothing) as cluster:
        assert await cluster.get(LLAMA, "models", "llama") is None
        with pytest.raises(ClusterError):
            await cluster.list(LLAMA)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (web.json_response({"message": "services is forbidden"}, status=403), "services is forbidden"),
        (web.Response(text="<html>", status=502), "status 502 to GET /api/v1/namespaces/models/services/llama, not"),
        (web.Response(text="[1]", status=200), "status 200 to GET"),
        (web.Response(text="", status=204), "status 204 to GET"),
    ],
)
async def test_a_refusal_keeps_its_status_and_words(
    api: Callable[[Handler], Any], answer: web.Response, words: str
) -> None:
    """Also where what answers is no API server."""

    async def refuse(_: web.Request) -> web.Response:
        return answer

    async with api(refuse) as cluster:
        with pytest.raises(ClusterError) as refused:
            await cluster.get(SERVICE, "models", "llama")
    assert refused.value.status == answer.status
    assert words in str(refused.value)


async def test_a_namespace_that_is_being_deleted_is_told_apart(api: Callable[[Handler], Any]) -> None:
    """It takes nothing new, and there is nothing to mend: the API server names the cause."""
    causes = [{"reason": "NamespaceTerminating", "message": "namespace models is being terminated"}]

    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"message": "services is forbidden", "details": {"causes": causes}}, status=403)

    async with api(refuse) as cluster:
        with pytest.raises(NamespaceTerminatingError, match="services is forbidden"):
            await cluster.get(SERVICE, "models", "llama")


async def test_no_answer_is_an_error_without_a_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And without the token."""
    monkeypatch.setenv("KUBECONFIG", str(a_kubeconfig(tmp_path, f"http://127.0.0.1:{unused_port()}")))
    async with connected() as cluster:
        with pytest.raises(ClusterError, match="no answer from the API server to GET") as refused:
            await cluster.get(SERVICE, "models", "llama")
    assert refused.value.status is None
    assert TOKEN not in str(refused.value)


async def test_requests_are_what_the_api_server_understands(api: Callable[[Handler], Any]) -> None:
    """Server-side apply by our manager, deletion of one uid, the status on its own path, the token in its header."""
    seen: list[tuple[str, str, str, Any]] = []

    async def note(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        seen.append((request.method, request.path_qs, request.content_type, await request.json()))
        return web.json_response({})

    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "llama", "namespace": "models"}}
    llama = {**service, "apiVersion": LLAMA.api_version, "kind": LLAMA.kind}
    async with api(note) as cluster:
        await cluster.apply(service)
        await cluster.delete(SERVICE, "models", "llama", "uid-1")
        await cluster.replace(llama, "status")
        await cluster.merge(SERVICE, "models", "llama", {"a": 1})
        await cluster.create(service)
    path, manager = "/api/v1/namespaces/models/services", "fieldManager=llama-operator"
    own = f"/apis/{LLAMA.api_version}/namespaces/models/llamadeployments/llama/status"
    assert [row[:3] for row in seen] == [
        ("PATCH", f"{path}/llama?{manager}&force=true", "application/apply-patch+yaml"),
        ("DELETE", f"{path}/llama", "application/json"),
        ("PUT", f"{own}?{manager}", "application/json"),
        ("PATCH", f"{path}/llama?{manager}", "application/merge-patch+json"),
        ("POST", f"{path}?{manager}", "application/json"),
    ]
    assert seen[0][3] == service
    assert seen[1][3]["preconditions"] == {"uid": "uid-1"}
    assert seen[1][3]["propagationPolicy"] == "Background"


@pytest.mark.parametrize("written", [None, "not: [yaml", "{}"])
async def test_a_kubeconfig_that_cannot_be_used_is_told(
    written: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to set."""
    path = tmp_path / "kubeconfig"
    if written is not None:
        path.write_text(written)
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(ClusterError, match="set KUBECONFIG, or run in a pod"):
        await access()


async def test_access_shows_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever prints it sees where, not with what."""
    monkeypatch.setenv("KUBECONFIG", str(a_kubeconfig(tmp_path, "https://example:6443")))
    found = await access()
    assert found.authorization == f"Bearer {TOKEN}"
    assert TOKEN not in repr(found)
    assert "https://example:6443" in repr(found)


async def test_watches_are_counted_apart(api: Callable[[Handler], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """They are reads too, and none that costs as much."""
    asked: list[tuple[str, int | None]] = []

    def note(verb: str, code: int | None) -> None:
        asked.append((verb, code))

    async def answer(request: web.Request) -> web.Response:
        if "namespaces" in request.path:
            return web.json_response({"message": "secrets is forbidden"}, status=403)
        return web.json_response({"type": "ADDED", "object": {"kind": "Secret"}})

    async with api(answer) as cluster:
        monkeypatch.setattr(cluster, "_asked", note)
        async with cluster.watch(SECRET) as changes:
            assert [change.obj async for change in changes] == [{"kind": "Secret"}]
        with pytest.raises(ClusterError, match="secrets is forbidden"):
            async with cluster.watch(SECRET, "models", "token"):
                pass
    assert asked == [("WATCH", 200), ("WATCH", 403)]


@pytest.mark.parametrize("size", [1_000_000, watching.LONGEST_LINE])
async def test_a_watch_reads_the_largest_objects_and_nothing_larger(api: Callable[[Handler], Any], size: int) -> None:
    """A Secret of a megabyte is one line of it; what is longer is no object, and repeated nowhere."""
    row = {"type": "ADDED", "object": {"data": {"token": "s" * size}}}

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(row)

    async with api(answer) as cluster, cluster.watch(SECRET) as changes:
        if size < watching.LONGEST_LINE:
            assert [change.obj async for change in changes] == [row["object"]]
        else:
            with pytest.raises(ClusterError, match="tells no changes: LineTooLong") as caught:
                await anext(changes)
            assert "ss" not in str(caught.value)


async def test_a_kind_is_served_where_its_group_lists_it(api: Callable[[Handler], Any]) -> None:
    """A group that is not there, or has other kinds, does not."""

    async def groups(request: web.Request) -> web.Response:
        if request.path == "/apis/networking.k8s.io/v1":
            return web.json_response({"resources": [{"name": "networkpolicies"}, {"name": "ingresses"}]})
        if request.path == f"/apis/{LLAMA.api_version}":
            return web.json_response({"resources": []})
        return web.json_response({"kind": "Status", "message": "not found", "code": 404}, status=404)

    async with api(groups) as cluster:
        assert await cluster.serves(NETWORK_POLICY)
        assert not await cluster.serves(LLAMA)
        assert not await cluster.serves(SERVICE_MONITOR)
