"""A real Prometheus reads the pods as the ServiceMonitor says, and answers what the documentation asks."""

import re
from collections.abc import Generator
from typing import Any, Final

import pytest
import yaml

from llama_operator.names import API_VERSION, KIND, LABEL_DEPLOYMENT
from llama_operator.plan.monitoring import service_monitor
from llama_operator.plan.observed import Key
from llama_operator.spec.parse import parse
from tests.support import stack
from tests.support.cluster import LLAMA, Namespace, eventually
from tests.support.predict import Server
from tests.support.prometheus import Prometheus, check_metrics, prometheus
from tools.generate import ROOT

pytestmark = pytest.mark.cluster
NAME: Final = "watched"
CALLS: Final = 20


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Namespace, Prometheus]]:
    """A mock model that has been called, and a Prometheus that has read it more than once."""
    with stack.restricted_namespace() as space:
        space.apply(
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "metadata": {"name": NAME},
                "spec": {
                    "model": {"repo": "nobody/has-this"},
                    "engine": {"name": "mock"},
                    "resources": {"gpu": {"count": 0}, "cpu": "100m", "memory": "256Mi"},
                    "cache": {"size": "1Mi"},
                    "monitoring": {"serviceMonitor": {"enabled": True}},
                },
            }
        )
        space.condition(NAME, "Available", "True Serving", seconds=120)
        body = space.there(LLAMA, NAME)
        monitor = service_monitor(parse(body), Key(space.name, NAME), body)
        with prometheus(tmp_path_factory.mktemp("prometheus"), space, monitor) as found:
            eventually("the pod is read", lambda: found.value("up") == 1, seconds=60)
            server = Server(space.there("service", NAME)["spec"]["clusterIP"])
            called = {"prompt": "Hello", "max_new_tokens": 64, "num_beams": 1}
            written = sum(server.predict(called).body["usage"]["completion_tokens"] for _ in range(CALLS))
            name = "llama_inference_generation_tokens_total"
            eventually("what was called is read", lambda: found.value(name) == written, shows=lambda: found.ask(name))
            eventually("and was seen to grow", lambda: (found.value(f"increase({name}[5m])") or 0) > 0)
            yield space, found


def test_prometheus_finds_the_pods_by_the_service_monitor(watched: tuple[Namespace, Prometheus]) -> None:
    """One series for each pod, which names it, its namespace and its LlamaDeployment."""
    space, found = watched
    (up,) = found.ask("up")
    (pod,) = space.list("pods", f"{LABEL_DEPLOYMENT}={NAME}")
    label = re.sub(r"\W", "_", LABEL_DEPLOYMENT)
    wanted = {"namespace": space.name, "pod": pod["metadata"]["name"], label: NAME}
    assert wanted.items() <= up["metric"].items()


def test_the_questions_of_the_documentation_are_answered(watched: tuple[Namespace, Prometheus]) -> None:
    """Each of them is PromQL, and finds something on a server that has been called."""
    _, found = watched
    (questions,) = re.findall(r"```promql\n(.*?)```", (ROOT / "docs" / "metrics.md").read_text(), re.DOTALL)
    asked = [line.partition("#")[0].strip() for line in questions.splitlines()]
    assert len(asked) > 2
    assert [question for question in asked if found.value(question) is None] == []


def test_the_autoscalers_rule_finds_its_series(watched: tuple[Namespace, Prometheus]) -> None:
    """What prometheus-adapter would ask with the sample's rule has one number for the pod."""
    space, found = watched
    (rule,) = yaml.safe_load((ROOT / "manifests" / "autoscaling" / "prometheus-adapter.yaml").read_text())["rules"][
        "custom"
    ]
    (series,) = found.ask(rule["seriesQuery"])
    assert {"namespace", "pod"} <= series["metric"].keys()
    matchers = f'namespace="{space.name}",pod=~"{series["metric"]["pod"]}"'
    query = rule["metricsQuery"].replace("<<.Series>>", series["metric"]["__name__"])
    assert found.value(query.replace("<<.LabelMatchers>>", matchers)) == 0


def test_prometheus_own_linter_finds_nothing_to_say(watched: tuple[Namespace, Prometheus]) -> None:
    """Names, units and help texts of the server's metrics, and of the operator's, are as the field has them."""
    space, _ = watched
    pages: dict[str, Any] = {
        "server": Server(space.there("service", NAME)["spec"]["clusterIP"]).get("/metrics")[1],
        "operator": stack.operator_metrics(),
    }
    assert {name: check_metrics(page) for name, page in pages.items()} == {"server": "", "operator": ""}
