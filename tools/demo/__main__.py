"""`make demo`: from a bare machine to a model's answer from inside a Kubernetes cluster, with the time of each step.

CLUSTER=current uses the cluster of KUBECONFIG instead of making one; the images must then be where its nodes can pull
them (OPERATOR_IMAGE, INFERENCE_IMAGE), and the model comes from the public Hub.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click
import yaml

from devcluster.progress import step
from tests.support import models, stack
from tests.support.ask import LOCAL_IMAGE, ask
from tests.support.kubectl import kubectl_ok
from tools.demo.view import View, is_available, progress, stages
from tools.generate import ROOT

NAMESPACE: Final = "llama-demo"
SAMPLE: Final = ROOT / "manifests" / "samples" / "smollm2-135m.yaml"
QUESTION: Final = "What is the capital of France?"
PATIENCE_S: Final = 600.0
CLEAR: Final = "\r\x1b[K"
ASK_IMAGE: Final = "docker.io/library/busybox:1.37"


@click.command(help=__doc__)
def main() -> None:
    """Run the demo."""
    started = time.monotonic()
    local = os.environ.get("CLUSTER", "") != "current"
    if local:
        os.environ.pop("KUBECONFIG", None)  # it names another cluster than the one that is made here
        _make_cluster()
        operator, inference, hub = stack.images()["operator"], stack.images()["inference"], stack.hub_endpoint()
    else:
        operator, inference, hub = _from_environment("OPERATOR_IMAGE"), _from_environment("INFERENCE_IMAGE"), None
    with step("helm install"):
        stack.install_operator(hub=hub, operator=operator, inference=inference)
    name = _apply()
    status = _watch(name)
    answer = _ask(name, LOCAL_IMAGE if local else ASK_IMAGE)
    _conclude(name, status, answer, time.monotonic() - started, local=local)


def _make_cluster() -> None:
    devcluster = Path(sys.executable).with_name("devcluster")
    for arguments in (("up",), ("build", "--load")):
        if subprocess.run([devcluster, *arguments], check=False).returncode != 0:
            sys.exit(1)  # it has said why, and what to do
    with step("model to serve"):
        folder = models.models_dir()
    with step("test Hub"):
        stack.start_hub(folder, {"repos": [{"name": models.SMOLLM2, "path": models.SMOLLM2}]})


def _from_environment(name: str) -> str:
    if value := os.environ.get(name):
        return value
    click.echo(f"error: set {name} to an image that the cluster's nodes can pull (README: On your cluster)", err=True)
    sys.exit(2)


def _apply() -> str:
    manifest = yaml.safe_load(SAMPLE.read_text())
    stack.namespace(NAMESPACE, stack.RESTRICTED)
    click.echo(f"\n$ kubectl apply -n {NAMESPACE} -f {SAMPLE.relative_to(ROOT)}")
    click.echo(kubectl_ok("--namespace", NAMESPACE, "apply", "-f", str(SAMPLE)).rstrip())
    return manifest["metadata"]["name"]


def _watch(name: str) -> Mapping[str, Any]:
    """Show what the LlamaDeployment says until it is available; return its last status."""
    view, began, terminal = View(), time.monotonic(), sys.stdout.isatty()
    while True:
        seconds = time.monotonic() - began
        status = json.loads(_kubectl("get", "llama", name, "-o", "json")).get("status", {})
        for line in view.news(status):
            click.echo(f"{CLEAR if terminal else ''}{seconds:7.1f} s  {line}")
        if is_available(status):
            # The stages' own times are written with the look after the one that found it ready.
            if stages(status) or seconds > PATIENCE_S:
                return status
        elif seconds > PATIENCE_S:
            click.echo(_kubectl("describe", "llama", name))
            click.echo(f"error: not available after {PATIENCE_S:.0f} s; the conditions above say why", err=True)
            sys.exit(1)
        if terminal and (line := progress(status)):
            click.echo(f"{CLEAR}{seconds:7.1f} s    {line}", nl=False)
        time.sleep(0.5)


def _ask(name: str, image: str) -> Mapping[str, Any]:
    """Ask from a pod inside the cluster, through the Service."""
    body = {"messages": [{"role": "user", "content": QUESTION}], "max_new_tokens": 128}
    click.echo(f"\n$ curl http://{name}/predict -d '{json.dumps(body)}'   # in a pod of namespace {NAMESPACE}")
    with step("predict"):
        return ask(NAMESPACE, name, body, image=image)


def _conclude(name: str, status: Mapping[str, Any], answer: Mapping[str, Any], seconds: float, *, local: bool) -> None:
    click.secho(f"\n{QUESTION}", bold=True)
    click.secho(answer["data"][0].strip(), fg="green")
    usage, timings = answer["usage"], answer["timings"]
    click.echo(f"\n{usage['completion_tokens']} tokens in {timings['total_s']:.1f} s, by {answer['model']}")
    click.echo("from a created pod to an answering server:")
    for stage, took in stages(status):
        click.echo(f"  {stage:<16} {took:6.1f} s")
    click.echo(f"all of it: {seconds:.0f} s\n")
    click.echo(_kubectl("get", "llama", name))
    click.echo("next:")
    if local:
        click.echo('  eval "$(.venv/bin/devcluster env)"            # kubectl and helm for this cluster')
    click.echo(f"  kubectl describe llama -n {NAMESPACE} {name}")
    click.echo("  kubectl apply -f manifests/samples/llama-2-70b.yaml   # the seventy billion, on two A100s")
    if local:
        click.echo("  make cluster-down                             # stop and remove the cluster")


def _kubectl(*arguments: str) -> str:
    return kubectl_ok("--namespace", NAMESPACE, *arguments)


if __name__ == "__main__":
    main()
