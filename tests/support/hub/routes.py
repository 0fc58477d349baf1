"""The Hub's pages: a request and the state in, a reply out; no sockets."""

from http import HTTPStatus
from urllib.parse import quote

from . import errors
from .accounts import Caller
from .repos import Entry, Repo, other_info
from .state import Hub
from .wire import Reply, Request, Slice, json_reply, read_range, refused


def target(hub: Hub, parts: tuple[str, ...]) -> tuple[str, str]:
    """Give the repository and file that a path is about, empty strings where there is none."""
    match parts:
        case ("api", "models", owner, name, *_):
            return f"{owner}/{name}", ""
        case ("api", "resolve-cache", "models", owner, name, _, *file):
            return f"{owner}/{name}", "/".join(file)
        case (owner, name, "resolve", _, *file):
            return f"{owner}/{name}", "/".join(file)
        case ("_cdn", key):
            found = hub.redeem(key)
            return (found[0], found[1].name) if found else ("", "")
        case _:
            return "", ""


def answer(hub: Hub, request: Request) -> Reply:
    """Answer as huggingface.co would."""
    caller = hub.tokens.caller(request.headers.get("authorization"))
    try:
        return _page(hub, request, caller)
    except errors.Refusal as refusal:
        return refused(refusal, api=request.parts[0] == "api")


def _page(hub: Hub, request: Request, caller: Caller) -> Reply:
    match request.parts:
        case ("api", "whoami-v2"):
            return _whoami(caller)
        case ("api", "models", owner, name, *page):
            return _api(hub, request, caller, f"{owner}/{name}", page)
        case ("api", "datasets" | "spaces" as kinds, owner, name):
            return _other(hub, caller, kinds, f"{owner}/{name}")
        case (owner, name, "resolve", revision, *file) if file:
            repo = hub.tokens.check_files(caller, hub.repos.get(f"{owner}/{name}"))
            return _resolve(hub, request, repo, repo.resolve(revision), "/".join(file))
        case ("api", "resolve-cache", "models", owner, name, commit, *file):
            repo = hub.tokens.check_files(caller, hub.repos.get(f"{owner}/{name}"))
            entry = repo.entry(repo.resolve(commit), "/".join(file))
            return _file(entry, request, _headers(entry, commit))
        case ("_cdn", key):
            return _cdn(hub, request, key)
        case _:
            raise errors.no_page(request.path)


def _other(hub: Hub, caller: Caller, kinds: str, name: str) -> Reply:
    kind = hub.others.get(name)
    if kind is None or f"{kind}s" != kinds:
        raise errors.no_repository(signed_in=caller.account is not None)
    return json_reply(other_info(kind, name))


def _whoami(caller: Caller) -> Reply:
    if caller.rejected:
        raise errors.invalid_token()
    if caller.account is None:
        raise errors.not_signed_in()
    body = {"type": "user", "name": caller.account, "fullname": caller.account, "orgs": [], "isPro": False}
    return json_reply(body | {"auth": {"type": "access_token", "accessToken": {"displayName": "test", "role": "read"}}})


def _api(hub: Hub, request: Request, caller: Caller, name: str, page: list[str]) -> Reply:
    # What a repository holds is public even where its files are gated.
    repo = hub.tokens.check_seen(caller, hub.repos.get(name))
    match request.method, page:
        case ("GET" | "HEAD", ["auth-check"]):
            hub.tokens.check_files(caller, repo)
            return json_reply({})
        case ("GET" | "HEAD", []):
            return json_reply(repo.info(repo.resolve("main"), blobs=request.asks("blobs")))
        case ("GET" | "HEAD", ["revision", revision]):
            return json_reply(repo.info(repo.resolve(revision), blobs=request.asks("blobs")))
        case ("GET" | "HEAD", ["tree", revision, *below]):
            listing = repo.tree(repo.resolve(revision), "/".join(below), recursive=request.asks("recursive"))
            return json_reply(listing)
        case _:
            raise errors.no_page(request.path)


def _resolve(hub: Hub, request: Request, repo: Repo, commit: str, file: str) -> Reply:
    """Send a file, or with a CDN what huggingface.co sends: a redirect that already tells commit, hash and size."""
    entry = repo.entry(commit, file)
    headers = _headers(entry, commit) | {"X-Linked-Etag": f'"{entry.etag}"', "X-Linked-Size": str(entry.size)}
    if not hub.cdn_url:
        return _file(entry, request, headers)
    if entry.sha256:
        return Reply(HTTPStatus.FOUND, headers | {"Location": f"{hub.cdn_url}/_cdn/{hub.ticket(repo.name, entry)}"})
    location = f"/api/resolve-cache/models/{repo.name}/{commit}/{quote(entry.name)}"
    return Reply(HTTPStatus.TEMPORARY_REDIRECT, headers | {"Location": location})


def _headers(entry: Entry, commit: str) -> dict[str, str]:
    return {"X-Repo-Commit": commit, "ETag": f'"{entry.etag}"', "Accept-Ranges": "bytes"}


def _cdn(hub: Hub, request: Request, key: str) -> Reply:
    found = hub.redeem(key)
    if found is None:
        raise errors.Refusal(HTTPStatus.FORBIDDEN, None, "the link is not signed by this Hub")
    return _file(found[1], request, {"ETag": f'"{found[1].etag}"', "Accept-Ranges": "bytes"})


def _file(entry: Entry, request: Request, headers: dict[str, str]) -> Reply:
    headers = {"Content-Type": "application/octet-stream", **headers}
    wanted = read_range(request.headers.get("range"), entry.size)
    if wanted is None:
        return Reply(HTTPStatus.OK, headers, Slice(entry.path, 0, entry.size))
    start, stop = wanted
    if start >= stop:
        status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        return Reply(status, headers | {"Content-Range": f"bytes */{entry.size}"})
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{entry.size}"
    return Reply(HTTPStatus.PARTIAL_CONTENT, headers, Slice(entry.path, start, stop))
