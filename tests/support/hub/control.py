"""The control pages, `/_control/...`: the verbs of `Hub` over HTTP, for a Hub that runs elsewhere.

They are for tests and carry no authentication: never let them be reached from outside.
"""

import json
from collections.abc import Callable
from typing import Any

from . import errors
from .config import apply
from .state import Hub
from .wire import Reply, Request, json_reply, refused

PREFIX = "_control"
Page = Callable[[Hub, dict[str, Any]], Any]


def answer(hub: Hub, request: Request) -> Reply:
    """Carry out a control request; its body and answer are JSON objects."""
    page = PAGES.get((request.method, "/".join(request.parts[1:])))
    try:
        if page is None:
            raise errors.no_page(request.path)
        return json_reply(page(hub, json.loads(request.body) if request.body else {}))
    except (ValueError, TypeError, KeyError) as error:
        # The body was wrong; whoever sent it is told how.
        return refused(errors.bad_request(f"{type(error).__name__}: {error}"), api=True)
    except errors.Refusal as refusal:
        return refused(refusal, api=True)


def _health(hub: Hub, body: dict[str, Any]) -> Any:
    return {"repos": sorted(hub.repos)}


def _apply(hub: Hub, body: dict[str, Any]) -> Any:
    return {"commits": apply(hub, body)}


def _requests(hub: Hub, body: dict[str, Any]) -> Any:
    return [record.describe() for record in hub.requests]


def _forget(hub: Hub, body: dict[str, Any]) -> Any:
    hub.journal.clear()
    return {}


def _faults(hub: Hub, body: dict[str, Any]) -> Any:
    return [fault.describe() for fault in hub.faults.in_force()]


def _add_fault(hub: Hub, body: dict[str, Any]) -> Any:
    return hub.fault(**body).describe()


def _clear_faults(hub: Hub, body: dict[str, Any]) -> Any:
    hub.clear_faults()
    return {}


def _revoke(hub: Hub, body: dict[str, Any]) -> Any:
    hub.tokens.revoke(body["token"])
    return {}


def _withdraw(hub: Hub, body: dict[str, Any]) -> Any:
    hub.tokens.withdraw(body["account"], body["repo"])
    return {}


PAGES: dict[tuple[str, str], Page] = {
    ("GET", "healthz"): _health,
    ("POST", "config"): _apply,
    ("GET", "requests"): _requests,
    ("DELETE", "requests"): _forget,
    ("GET", "faults"): _faults,
    ("POST", "faults"): _add_fault,
    ("DELETE", "faults"): _clear_faults,
    ("DELETE", "tokens"): _revoke,
    ("DELETE", "grants"): _withdraw,
}
