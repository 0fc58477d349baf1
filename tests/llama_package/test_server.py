"""The end of a server's process is noticed, whatever the package has started."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from llama_package import launcher, server

pytestmark = pytest.mark.slow

LONG_S = 60.0
ENDS = """
import os, pathlib, sys, time
if os.fork() == 0:
    if {apart}:
        os.setsid()
    pathlib.Path("child.new").write_text(str(os.getpid()))
    pathlib.Path("child.new").rename("child")
    time.sleep(600)
while not os.path.exists("child"):
    time.sleep(0.01)
os.write(int(sys.argv[2]), b'{{"event": "loading", "config": {{"a": 1}}}}\\n{{cut short\\n')
os._exit(3)
"""
FORKS = """
import os, sys, time
sys.path.insert(0, sys.argv[2])
import launcher
events = launcher.Events(int(sys.argv[1]))
events.tell("loading")
child = os.fork()
if child == 0:
    time.sleep(600)
print(child, flush=True)
os._exit(0)
"""


@contextmanager
def ended_after(pid: int) -> Generator[None]:
    """End a process, if it is still there, after the block."""
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("apart", [False, True])
def test_a_server_that_ends_is_noticed_though_its_children_hold_the_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, apart: bool
) -> None:
    """They are ended with it, but for one that has left its group; what it said before is heard."""
    program = tmp_path / "program.py"
    program.write_text(ENDS.format(apart=apart))
    monkeypatch.setattr(server, "LAUNCHER", program)
    changed = threading.Event()
    started = server.Server(
        1, python=sys.executable, app=tmp_path, run=tmp_path, environment=os.environ, changed=changed.set
    )
    assert started.settled.wait(LONG_S)
    with ended_after(int((tmp_path / "child").read_text())):
        assert started.state == server.ENDED
        assert started.config == {"a": 1}
        assert started.failure is not None
        assert "exit code 3" in started.failure["message"]


def test_what_a_package_forks_does_not_hold_the_pipe() -> None:
    """Its end is that of the launcher alone."""
    reading, writing = os.pipe()
    folder = str(Path(launcher.__file__).parent)
    command = [sys.executable, "-c", FORKS, str(writing), folder]
    with subprocess.Popen(command, pass_fds=(writing,), stdout=subprocess.PIPE, text=True) as process:
        os.close(writing)
        assert process.stdout is not None
        with ended_after(int(process.stdout.readline())), os.fdopen(reading) as events:
            assert events.read() == '{"event": "loading"}\n'
