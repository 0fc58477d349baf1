"""`chat`: a conversation in the terminal, over the streaming API."""

import json
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import click

from kubectl_llama import options
from kubectl_llama.asking import Model, api_key_flag
from kubectl_llama.edge import terminal
from kubectl_llama.edge.line import Answer
from kubectl_llama.errors import AnswerError
from kubectl_llama.view.events import Events

HELP = "/system TEXT sets who it is, /reset forgets the conversation, /quit ends it; Ctrl-C stops an answer"


@dataclass(slots=True)
class Conversation:
    """What was said, as the API takes it."""

    system: str = ""
    said: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    def asked(self, text: str, **settings: Any) -> bytes:  # noqa: ANN401  (parameters of the API)
        """Return the request for an answer to `text`."""
        who = [{"role": "system", "content": self.system}] if self.system else []
        fields = {
            "messages": [*who, *self.said, {"role": "user", "content": text}],
            "stream": True,
            "stream_options": {"include_usage": True},
            **{name: value for name, value in settings.items() if value is not None},
        }
        return json.dumps(fields).encode()

    def answered(self, text: str, answer: str) -> None:
        """Keep what was asked and answered."""
        self.said += [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]

    def commanded(self, line: str) -> str:
        """Carry out a command and return what to tell."""
        word, _, rest = line.partition(" ")
        if word == "/system":
            self.system = rest.strip()
            return "it is told who it is" if self.system else "it is told nothing of who it is"
        if word == "/reset":
            self.said.clear()
            return "the conversation is forgotten"
        return HELP


@click.command()
@options.name_argument(required=False)
@click.option("--system", metavar="TEXT", default="", help="Who the model is to be.")
@click.option("--max-tokens", type=click.IntRange(1), help="The longest answer, in tokens.")
@click.option("--temperature", type=click.FloatRange(0, 2), help="0 always gives the likeliest answer.")
@api_key_flag
@options.kubectl_flags
def command(
    name: str | None, *, system: str, max_tokens: int | None, temperature: float | None, api_key_from: str | None
) -> None:
    """Talk with a model: a line is a question, /help names the commands.

    Without NAME: the only one of the namespace. Questions that come from a pipe are answered one after the other.
    """
    name = name or options.the_only_name()
    model, talk = Model(name, key_from=api_key_from), Conversation(system)
    people = sys.stdin.isatty()
    if people:
        with suppress(ImportError):
            import_module("readline")  # lines can then be edited
        terminal.say(f"{name}: {HELP}")
    while (line := _line(people=people)) is not None:
        if line.startswith("/"):
            if line.split()[0] in ("/quit", "/exit"):
                return
            terminal.say(talk.commanded(line))
            continue
        request = talk.asked(line, model=name, max_tokens=max_tokens, temperature=temperature)
        try:
            talk.answered(line, _told(model, request))
        except AnswerError as error:
            if not people:
                raise
            terminal.say(f"error: {error}", "red")


def _line(*, people: bool) -> str | None:
    """Return the next line that is not empty; None at the end."""
    while True:
        try:
            line = input("> " if people else "").strip()
        except EOFError:
            return None
        if line:
            return line


def _told(model: Model, request: bytes) -> str:
    """Print an answer as it comes and return it.

    Raises:
        AnswerError: if it is an error, or breaks off.
    """
    start = time.monotonic()
    answer = model.post("/v1/chat/completions", request)
    if answer.status >= 400:
        raise model.fault(answer, answer.read())
    return _streamed(answer, start)


def _streamed(answer: Answer, start: float) -> str:
    events, text, first, tokens = Events(), "", 0.0, 0
    try:
        for piece in answer.pieces():
            for event in events.feed(piece):
                if (failure := event.failure) is not None:
                    raise AnswerError(f"the answer ends with an error: {failure}")
                if event.text:
                    first = first or time.monotonic()
                    text += event.text
                    click.echo(event.text, nl=False)
                usage: dict[str, Any] = event.fields.get("usage") or {}
                tokens = usage.get("completion_tokens", tokens)
    except KeyboardInterrupt:
        terminal.say(" (stopped)")
    click.echo()
    end = time.monotonic()
    if tokens > 1 and end > first > 0:
        rate = (tokens - 1) / (end - first)
        terminal.say(f"{tokens} tokens, {rate:.1f} a second, the first after {first - start:.1f}s", "dim")
    return text
