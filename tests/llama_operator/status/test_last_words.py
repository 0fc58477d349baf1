"""What a container said last is a sentence, whatever form its log has for machines."""

import json
import logging

import pytest

from llama_inference.logs import JsonFormatter
from llama_operator.status.last_words import last, sentences
from tests.llama_operator.status.test_endings import ended

REFUSED = "the settings cannot be used: there is no parameter temprature; did you mean temperature?"
TRACEBACK = """Traceback (most recent call last):
  File "/app/serve.py", line 3, in <module>
    main()
    ^^^^^^
KeyError: 'rope'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/app/serve.py", line 9, in main
    raise ValueError(text)
ValueError: rope_scaling has no type
and this is its second line
resource_tracker: There appear to be 1 leaked semaphore objects to clean up at shutdown
"""


def logged(message: str, level: int = logging.INFO, *, error: Exception | None = None) -> str:
    """A line as our server writes it."""
    raised = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("llama_inference.cli", level, __file__, 1, message, (), raised)
    return JsonFormatter().format(record)


def test_a_line_of_our_servers_log_is_the_sentence_in_it() -> None:
    """As `kubectl describe` shows it: no braces, no time, no logger."""
    log = "\n".join([logged("listening"), logged(REFUSED, logging.CRITICAL), logged("stopped")])
    assert ended(2, log)[1] == (
        f'the server in pod llama-1 ended with code 2, and its last words were "{REFUSED}": kubectl logs llama-1 '
        "--previous shows the rest"
    )


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (TRACEBACK, "ValueError: rope_scaling has no type"),
        ("a\n\nLLAMA_INFERENCE_PORT: not a number\n", "LLAMA_INFERENCE_PORT: not a number"),
        ('2026", "level": "error", "message": "the \\"index\\" is cut"}\n', 'the "index" is cut'),
        ('{"timestamp":"2026","level":"ERROR","fields":{"message":"Shard 0 failed to start"}}\nbye', "Shard 0 failed"),
        ('{"level": "info", "msg": "bye"}', "bye"),
        ('{"progress": 3}', '{"progress": 3}'),
        ("[1, 2]", "[1, 2]"),
        ("", ""),
    ],
    ids=["traceback", "plain", "tail of a line", "TGI", "msg", "JSON of no message", "a list", "silence"],
)
def test_other_forms_of_logs_are_read_too(log: str, said: str) -> None:
    """Python's own, those of other programs, and a first line that the kubelet has cut."""
    assert last(log).startswith(said)
    assert bool(last(log)) == bool(said)


def test_an_error_that_was_logged_is_told_with_its_cause() -> None:
    """Its traceback is a field of the line, of which only the exception is said."""
    with pytest.raises(ValueError, match="five") as caught:
        int("five")
    line = logged("the engine is lost", logging.ERROR, error=caught.value)
    assert "\n" not in line
    assert json.loads(line)["traceback"].startswith("Traceback")
    assert last(line) == "the engine is lost: ValueError: invalid literal for int() with base 10: 'five'"
    assert sentences(line) == (last(line),)


def test_the_cause_is_found_within_a_line_of_json() -> None:
    """And quoted as a sentence, as from any other engine."""
    reason, said = ended(1, logged("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert reason == "GpuOutOfMemory"
    assert "little memory (torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB): raise" in said
