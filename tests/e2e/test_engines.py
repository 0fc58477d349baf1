"""Engines other than the default, on the cluster."""

import pytest

from tests.support.ask import ask
from tests.support.cluster import Namespace
from tests.support.operator_objects import a_body

pytestmark = pytest.mark.cluster


def test_a_mock_answers_without_model_gpu_or_hub(space: Namespace) -> None:
    """Load tests need no more than a node: the repository is on no Hub, and nothing asks for it."""
    space.apply(
        {
            "apiVersion": a_body()["apiVersion"],
            "kind": a_body()["kind"],
            "metadata": {"name": "mock"},
            "spec": {
                "model": {"repo": "nobody/has-this"},
                "engine": {"name": "mock"},
                "resources": {"gpu": {"count": 0}, "cpu": "100m", "memory": "256Mi"},
                "cache": {"size": "1Mi"},
            },
        }
    )
    space.condition("mock", "Available", "True Serving", seconds=120)
    answer = ask(space.name, "mock", {"prompt": "Hi", "max_new_tokens": 20, "num_beams": 1})
    assert answer["data"] == ["The llama (Lama gl"]
