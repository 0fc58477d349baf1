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
from tests.support.cli_cluster import MemoryCluster
from tools.kubectl_reference import markdown

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


@pytest.mark.parametrize("debug", ["", "1"])
def test_a_fault_of_the_program_is_one_line_without_its_words(
    cli: Run, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch, debug: str
) -> None:
    """Exit code 1; the traceback, whose words may hold a secret, is for who asks for it."""

    def fails(*_args: object, **_how: object) -> None:
        raise ZeroDivisionError("sesame")

    monkeypatch.setenv("KUBECTL_LLAMA_DEBUG", debug)
    monkeypatch.setattr(cluster, "list", fails)
    done = cli("list", "-o", "json")
    assert (done.code, json.loads(done.out)["error"]["code"]) == (1, "Internal")
    assert "error: kubectl llama itself has failed: ZeroDivisionError" in done.err
    assert ("sesame" in done.err, "Traceback" in done.err) == (bool(debug), bool(debug))


@pytest.mark.parametrize("form", [("-o", "json"), ("-ojson",), ("--output=yaml",)])
@pytest.mark.parametrize(
    ("args", "field"),
    [
        (("push", "--mode", "x"), "--mode"),
        (("plan", "--gpu-hour-price", "much"), "--gpu-hour-price"),
        (("push", "--model", "a/b", "--timeout", "soon"), "--timeout"),
    ],
)
def test_usage_is_an_object_where_one_was_asked_for(
    cli: Run, form: tuple[str, ...], args: tuple[str, ...], field: str
) -> None:
    """On standard output, with the flag; what is wrong may stand before -o."""
    done = cli(*args, *form)
    error = json.loads(done.out)["error"]
    assert (done.code, error["code"]) == (2, "Usage")
    assert error["message"]
    assert error["field"] == field


def test_a_form_behind_two_hyphens_is_none() -> None:
    """It is an argument then."""
    assert main.form_of(["push", "--", "-o", "json"]) == ""
    assert main.form_of(["push", "-o"]) == ""


@pytest.mark.parametrize("verb", ["", "push", "predict", "plan", "import-truss", "completion"])
def test_examples_stand_on_lines_of_their_own(cli: Run, verb: str) -> None:
    """Without the mark that keeps them from being wrapped."""
    said = cli(*filter(None, (verb, "--help"))).out
    assert "\\b" not in said
    assert "\b" not in said
    examples = [row.strip() for row in said.splitlines() if row.startswith(("  kubectl llama", "  source "))]
    assert examples
    assert all(row.count("kubectl llama") == 1 for row in examples)
    page = markdown()
    assert "\\b" not in page
    assert "\b" not in page


def test_a_verb_for_packages_shows_no_flag_that_it_refuses(cli: Run) -> None:
    """--model and -f are for push and plan."""
    said = cli("import-truss", "--help").out
    assert not {"-f,", "--model", "--revision"} & set(said.split())
    assert "--python" in said
    assert "--model" in cli("push", "--help").out
