"""`llama-inference serve --backend package` as the process that it is in a pod, and the tools beside it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.llama_inference.process import MODULE, Process
from tests.support.truss.container import Container

pytestmark = pytest.mark.slow


def test_the_process_serves_a_package_and_ends_when_told(tmp_path: Path) -> None:
    """Exit code 0 after SIGTERM, as for a model."""
    with Container("basic") as container:
        variables = {"LLAMA_INFERENCE_BACKEND": "package", "LLAMA_INFERENCE_PACKAGE_DIR": str(container.run)}
        with Process(*MODULE, **variables) as process:
            process.ready(120)
            answer = process.client.post("/v1/models/tiny:predict", json={"op": "number"})
            assert (answer.status_code, answer.text) == (200, "1.5")
            process.signal()
            assert process.exit_code() == 0


def test_the_tools_are_copied_whole(tmp_path: Path) -> None:
    """They run on a Python that has nothing installed, from where they were copied to."""
    subprocess.run([sys.executable, *MODULE, "package-tools", str(tmp_path / "bin")], check=True)
    supervisor = tmp_path / "bin/llama_package"
    assert {"__main__.py", "launcher.py", "supervisor.py"} <= {path.name for path in supervisor.iterdir()}
    alone = "import sys, runpy; sys.argv=['x']; sys.path[:]=[p for p in sys.path if 'site-packages' not in p]; "
    code = alone + f"runpy.run_path({str(supervisor)!r}, run_name='checked')"
    subprocess.run([sys.executable, "-S", "-E", "-c", code], check=True, cwd="/")
