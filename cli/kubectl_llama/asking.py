"""A model that can be asked: the pod that serves it, the key, the connection. What predict and chat share."""

from collections.abc import Sequence

import click

from kubectl_llama import options
from kubectl_llama.ask import request
from kubectl_llama.ask.target import Target, choose
from kubectl_llama.edge import terminal
from kubectl_llama.edge.kinds import POD, SECRET
from kubectl_llama.edge.kube import Object
from kubectl_llama.edge.line import Answer, Line, post
from kubectl_llama.errors import AnswerError
from llama_operator import names

FORWARD_SECONDS = 1.0


def _checked(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        request.secret_of(value)
    return value


api_key_flag = click.option(
    "--api-key-from", metavar="SECRET[/KEY]", callback=_checked, help="The Secret with the API key."
)
"""What it names is checked before anything is asked of a cluster."""


class Model:
    """One deployment, with the key to use; each question has a connection of its own."""

    def __init__(self, name: str, *, key_from: str | None, deadline: float | None = None) -> None:
        self.name = name
        self._key = _key(key_from) if key_from else None
        self._deadline = deadline

    def post(self, path: str, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> Answer:
        """Ask, and return the answer once it begins, whatever its status."""
        cluster, place = options.cluster(), options.namespace()
        target = self._target(options.deployment(self.name))
        if target.gateway:
            terminal.say(f"no pod of {self.name} serves: asking the gateway, which may have to wake it")
        connected = cluster.forward(place, target.pod, names.CONTAINER_PORT)
        # The deadline is the server's to keep; this end waits a moment longer, for its answer.
        line = Line(connected, self._deadline + FORWARD_SECONDS if self._deadline is not None else None)
        sent = request.headers(headers, key=self._key, deadline=self._deadline)
        return post(line, path, body, sent)

    def fault(self, answer: Answer, body: bytes) -> AnswerError:
        """Return the error of an answer that is one."""
        fix = ""
        if answer.status in (401, 403):
            fix = "give the key with --api-key-from SECRET/KEY" if self._key is None else "is this one of its keys?"
        elif retry := answer.headers.get("Retry-After"):
            fix = f"ask again in {retry} seconds"
        return AnswerError(f"{self.name} answers {request.fault(answer.status, body)}", fix=fix)

    def _target(self, body: Object) -> Target:
        cluster, place = options.cluster(), options.namespace()
        labels = ",".join(f"{key}={value}" for key, value in names.pod_selector(self.name).items())
        gateways = ",".join(f"{key}={value}" for key, value in names.gateway_selector(self.name).items())
        return choose(body, cluster.list(POD, place, labels=labels), cluster.list(POD, place, labels=gateways))


def _key(text: str) -> str:
    name, key = request.secret_of(text)
    return request.key_in(options.cluster().get(SECRET, name, options.namespace()), name, key)
