"""The gateway over HTTP: callers on one port, probes and metrics on another."""

import logging
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from llama_operator.gateway.decide import Admission, State
from llama_operator.gateway.gate import Gate, Passage, RefusedError
from llama_operator.gateway.keeper import Keeper
from llama_operator.gateway.keys import CHALLENGE, Door, Refusal
from llama_operator.gateway.metrics import Metrics, Outcome
from llama_operator.gateway.proxy import LostError, NotConnectedError, Pods

log = logging.getLogger(__name__)

_WAKING: Final = frozenset({"POST"})
"""Methods that ask for work. Whoever only looks, such as a scraper of metrics, wakes no GPU and keeps none awake."""
_SAID: Final[dict[Admission, tuple[Outcome, str, str]]] = {
    Admission.HOLD: ("expired", "model_starting", "the model is starting and not ready yet"),
    Admission.FULL: ("full", "model_starting", "the model is starting, and as many requests as may wait for it do"),
    Admission.STOPPED: ("stopped", "model_stopped", "the model is stopped: spec.replicas of its LlamaDeployment is 0"),
}


_TYPES: Final = {401: "authentication_error", 403: "permission_error"}
"""What OpenAI calls an error with this status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Answers for one model, whether its pods run or not."""

    gate: Gate
    pods: Pods
    metrics: Metrics
    door: Door

    def app(self) -> web.Application:
        """Return the application for callers."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.method not in _WAKING:
            return await self._look(request)
        if refusal := self.door.refusal(request.headers.get("Authorization"), request.path):
            self.metrics.count("refused")
            return _refused(refusal)
        outcome: Outcome = "hung_up"
        try:
            with self.gate.request() as passage:
                response = await self._pass(request, passage)
            outcome = "forwarded"
        except RefusedError as refused:
            outcome, code, message = _SAID[refused.admission]
            wait = refused.retry_after
            response = _error(503, code, f"{message}: try again in {wait} s", retry_after=wait)
        except LostError as error:
            log.warning("a pod ended a connection before it answered: %s", error)
            outcome, message = "lost", "the pod that had the request ended before it answered, and may have begun"
            response = _error(502, "replica_lost", f"{message}: try again where that does no harm")
        finally:
            self.metrics.count(outcome)
        return response

    async def _pass(self, request: web.Request, passage: Passage) -> web.StreamResponse:
        while True:
            await passage.through()
            waited = passage.waited
            try:
                response = await self.pods.forward(request)
            except NotConnectedError:
                passage.refused()
            else:
                self.metrics.waited(waited)
                return response

    async def _look(self, request: web.Request) -> web.StreamResponse:
        """Answer a request that is not about work: by a pod where there is one, else for the sleeping model."""
        if self.gate.mind.granted and self.gate.mind.answering_since is not None:
            try:
                return await self.pods.forward(request)
            except NotConnectedError:
                log.debug("no pod for %s", request.path)
            except LostError as error:
                return _error(502, "replica_lost", f"the pod ended before it answered ({error}): try again")
        if request.path == "/healthz":
            return web.json_response({"status": "ok", "model": self.gate.state})
        what = "starting" if self.gate.state is State.WAKING else "asleep; a request to predict wakes it"
        return _error(503, f"model_{self.gate.state}", f"the model is {what}")


def admin(gate: Gate, keeper: Keeper, metrics: Metrics, leaving: "Leaving") -> web.Application:
    """Return the application for kubelets and Prometheus."""

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"state": gate.state})

    async def readyz(_: web.Request) -> web.Response:
        ready = keeper.informed and not leaving.begun
        return web.json_response({"state": gate.state}, status=200 if ready else 503)

    async def text(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", text)])
    return app


@dataclass(slots=True)
class Leaving:
    """Whether SIGTERM has come."""

    begun: bool = False


def _refused(refusal: Refusal) -> web.Response:
    response = _error(refusal.status, refusal.code, refusal.message, param="Authorization")
    response.headers["WWW-Authenticate"] = CHALLENGE
    return response


def _error(
    status: int, code: str, message: str, *, param: str | None = None, retry_after: int | None = None
) -> web.Response:
    """Return an error in the form of the predict contract, which holds that of OpenAI's as well."""
    error = {"code": code, "param": param, "message": message, "type": _TYPES.get(status, "server_error")}
    body: dict[str, Any] = {"status": "error", "data": None, "message": message, "error": error}
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return web.json_response(body, status=status, headers=headers)
