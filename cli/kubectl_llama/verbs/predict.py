"""`predict`: ask a model once."""

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import click
import yaml

from kubectl_llama import options
from kubectl_llama.ask import request
from kubectl_llama.ask.resource import label
from kubectl_llama.asking import Model, api_key_flag
from kubectl_llama.edge import terminal
from kubectl_llama.edge.kube import seconds
from kubectl_llama.edge.line import Answer
from kubectl_llama.errors import AnswerError, UsageError
from kubectl_llama.verbs.pushed import read
from kubectl_llama.view.events import Events


@click.command()
@options.name_argument(required=False)
@click.option("-d", "--data", metavar="JSON", help="The body of the request.")
@click.option("-f", "--file", "file", metavar="FILE", help="A file with it; - reads standard input.")
@click.option("--path", metavar="PATH", help="Another path of the server, such as /v1/chat/completions.")
@click.option("--stream", is_flag=True, help="Ask for the answer as it comes.")
@api_key_flag
@click.option("--timeout", metavar="TIME", help="Give up after this time; the server does so too.")
@click.option("-H", "--header", "headers", metavar="'NAME: VALUE'", multiple=True, help="One more header.")
@click.option("-i", "--include", is_flag=True, help="Print status and headers first.")
@click.option("--model", "model", metavar="NAME", help="The same as NAME.")
@click.option("--published", is_flag=True, hidden=True)
@options.kubectl_flags
def command(**given: Any) -> None:  # noqa: ANN401  (click's own values)
    """Ask a model once, and print its answer as it came; on a terminal it is indented.

    Without NAME: the one that config.yaml of this folder names, else the only one of the namespace. Without -d and -f
    the body is read from standard input. Exits with 5 when the model answers an error.

    \b
    kubectl llama predict llama-2-70b -d '{"prompt": "What is the meaning of life?"}'
    """
    if given["published"]:
        terminal.say("note: --published has no effect: there is one deployment of a name")
    deadline = seconds(given["timeout"], "--timeout") if given["timeout"] else None
    headers = request.written(given["headers"])
    body = request.body(_text(given), stream=given["stream"])
    name = _name(given)
    model = Model(name, key_from=given["api_key_from"], deadline=deadline)
    answer = model.post(given["path"] or f"/v1/models/{name}:predict", body, headers)
    if given["include"]:
        terminal.result(f"HTTP/1.1 {answer.status} {answer.reason}")
        for header, value in answer.headers.items():
            terminal.result(f"{header}: {value}")
        terminal.result("")
    if answer.status < 400 and answer.is_stream:
        return _show_stream(answer)
    whole = answer.read()
    _show(whole)
    if answer.status >= 400:
        raise model.fault(answer, whole)
    return None


def _text(given: Mapping[str, Any]) -> str:
    if given["data"] is not None and given["file"] is not None:
        raise UsageError("there are two bodies", fix="give either -d or -f", field="--data")
    if given["data"] is not None:
        return str(given["data"])
    if given["file"] is None and sys.stdin.isatty():
        raise UsageError("there is nothing to ask", fix="""give -d '{"prompt": "…"}', or -f FILE""", field="--data")
    return read(given["file"] or "-", "--file")


def _name(given: Mapping[str, Any]) -> str:
    named = given["name"] or given["model"]
    return str(named or _of_this_folder() or options.the_only_name())


def _of_this_folder() -> str | None:
    """Return the name of the package of the working folder, as truss takes it."""
    config = Path("config.yaml")
    if not config.is_file():
        return None
    try:
        fields = yaml.safe_load(config.read_text())
    except (OSError, yaml.YAMLError):
        return None
    name = cast("dict[str, Any]", fields).get("model_name") if isinstance(fields, dict) else None
    return label(str(name)) if name else None


def _show(body: bytes) -> None:
    """Print the body as it came, or so that a person can read it."""
    if sys.stdout.isatty():
        with suppress(ValueError):
            body = json.dumps(json.loads(body), indent=2, ensure_ascii=False).encode()
    _out(body)
    if sys.stdout.isatty() and not body.endswith(b"\n"):
        _out(b"\n")


def _show_stream(answer: Answer) -> None:
    """Print pieces as they come: the bytes, or on a terminal the text in them.

    Raises:
        AnswerError: if it ends with an error, or breaks off.
    """
    events, readable = Events(), answer.is_events and sys.stdout.isatty()
    failed: str | None = None
    for piece in answer.pieces():
        if not readable:
            _out(piece)
        for event in events.feed(piece) if answer.is_events else ():
            failed = failed or event.failure
            if readable:
                _out(event.text.encode())
    if readable:
        _out(b"\n")
    if failed is not None:
        raise AnswerError(f"the stream ends with an error: {failed}")


def _out(body: bytes) -> None:
    sys.stdout.buffer.write(body)
    sys.stdout.buffer.flush()
