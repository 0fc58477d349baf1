"""Golden prompts of a package: asked as callers ask, over its socket; the answer's text is held against `expect`."""

import json
import logging
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from contextlib import aclosing
from typing import Final

from llama_inference.engine.progress import Progress, Stage
from llama_inference.errors import ConfigurationError, InferenceError, LoadReason
from llama_inference.golden.gate import told
from llama_inference.golden.prompts import PATH, GoldenPrompt, expectation, name_of
from llama_inference.metrics import Metrics
from llama_inference.package.upstream import BrokenOffError, Upstream
from llama_inference.values import Json

log = logging.getLogger(__name__)
TARGET: Final = b"/v1/models/model:predict"
FIELDS: Final = ("name", "prompt", "messages", "request", "parameters", "expect")
LARGEST: Final = 1 << 20  # bytes of an answer that are looked at


def parse(given: Seq[Mapping[str, Json]]) -> tuple[GoldenPrompt, ...]:
    """Check the setting: each row has `request`, the whole body, or prompt or messages beside parameters.

    Raises:
        ConfigurationError: naming the field of `spec.rollout.goldenPrompts` and what it must be.
    """
    return tuple(_parse(row, f"{PATH}[{index}]", index) for index, row in enumerate(given))


def _parse(row: Mapping[str, Json], path: str, index: int) -> GoldenPrompt:
    if unknown := set(row) - set(FIELDS):
        raise ConfigurationError(f"{path}.{min(unknown)}: there is no such field; there are {', '.join(FIELDS)}")
    names = [name for name in ("prompt", "messages", "request") if name in row]
    if len(names) != 1:
        raise ConfigurationError(f"{path} must hold one of prompt, messages and request")
    parameters = row.get("parameters", {})
    if not isinstance(parameters, dict) or ("request" in row and parameters):
        raise ConfigurationError(f"{path}.parameters must be an object, and goes with prompt or messages only")
    kind, expected = expectation(row.get("expect"), f"{path}.expect")
    body = row["request"] if "request" in row else {names[0]: row[names[0]], **parameters}
    return GoldenPrompt(name=name_of(row, path, index), kind=kind, expected=expected, request=body)


class PackageGate:
    """Asks the golden prompts of one package, and keeps the stage `Golden` of its start-up report."""

    def __init__(self, prompts: Seq[GoldenPrompt], *, upstream: Upstream, progress: Progress, metrics: Metrics) -> None:
        self._prompts = prompts
        self._upstream = upstream
        self._progress = progress
        self._metrics = metrics

    async def passed(self) -> bool:
        """Ask all; return whether all were answered as expected. If not, the report says what differed."""
        self._progress.begin(Stage.GOLDEN)
        failures: list[str] = []
        for prompt in self._prompts:
            fault = await self._fault(prompt)
            if fault is not None:
                log.error("a golden prompt failed", extra={"golden_prompt": prompt.name})
                self._metrics.golden_failures.inc()
                failures.append(f"golden prompt {prompt.name!r}: {fault}")
        if failures:
            message = told(failures, of=len(self._prompts))
            self._progress.failed(Stage.GOLDEN, LoadReason.GOLDEN_PROMPT_FAILED, message, attempt=1, retry_in=None)
            return False
        self._metrics.load_seconds.labels(Stage.GOLDEN.value).set(self._progress.finish(Stage.GOLDEN))
        return True

    async def _fault(self, prompt: GoldenPrompt) -> str | None:
        body = json.dumps(prompt.request).encode()
        headers = [(b"host", b"package"), (b"content-type", b"application/json")]
        text = b""
        try:
            answer = await self._upstream.send("POST", TARGET, headers, body)
            try:
                async with aclosing(answer.pieces()) as pieces:
                    async for piece in pieces:
                        text += piece
                        if len(text) > LARGEST:
                            break
            finally:
                await answer.close()
        except (InferenceError, BrokenOffError) as error:
            return f"it could not be answered: {error}"
        found = text_of(text)
        return prompt.difference(found) if answer.status == 200 else f"it was answered {answer.status}: {found[:200]}"


def text_of(body: bytes) -> str:
    """What is compared: the text of a JSON string, and anything else as it was sent."""
    text = body.decode(errors="replace")
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str) else text
