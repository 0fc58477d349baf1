"""Help comes at once, and says what there is."""

import inspect
import json
import subprocess
import sys

import click
import pytest

from kubectl_llama import main
from kubectl_llama.options import State
from tests.kubectl_llama.conftest import Run

HEAVY = {"kubernetes", "rich", "pydantic", "requests", "urllib3", "yaml", "asyncio", "llama_operator", "http", "ssl"}


def imported_by(*args: str) -> set[str]:
    """The top-level modules that a command line imports, in a process of its own."""
    code = (
        "import sys, json; from kubectl_llama.main import run; run(sys.argv[1:]);"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
    assert "Usage: kubectl llama" in done.stdout
    return set(json.loads(done.stderr))


def test_help_imports_no_client_and_no_library_for_drawing() -> None:
    """What takes time to start is what is imported: the help needs click alone."""
    assert imported_by("--help") & HEAVY == set()


def test_every_verb_is_told_by_its_first_sentence() -> None:
    """The list of verbs is written down, so that none is imported for it; it is each verb's own first line."""
    ctx = click.Context(main.group, obj=State())
    for name, line in main.VERBS.items():
        command = main.group.get_command(ctx, name)
        assert command is not None
        assert inspect.cleandoc(command.help or "").splitlines()[0] == line, name


def test_usage_begins_with_kubectl_llama(cli: Run) -> None:
    """As kubectl's plugins are called."""
    assert cli("push", "--help").out.startswith("Usage: kubectl llama push ")


def test_a_flag_that_does_not_exist_ends_with_2_and_the_nearest(cli: Run) -> None:
    """The exit code of usage."""
    done = cli("push", "--mode", "x")
    assert done.code == 2
    assert "--model" in done.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(cli: Run, shell: str) -> None:
    """A script that asks this program."""
    assert "_KUBECTL_LLAMA_COMPLETE" in cli("completion", shell).out
