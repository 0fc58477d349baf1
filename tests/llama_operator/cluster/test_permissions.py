"""Least privilege: what the operator must never be allowed to do."""

from collections.abc import Mapping
from typing import Any

from llama_operator.cluster.permissions import PERMISSIONS


def verbs(resource: str, roles: Mapping[str, list[dict[str, Any]]] = PERMISSIONS) -> set[str]:
    """What may be done to a resource, in whichever role."""
    rules = [rule for rules in roles.values() for rule in rules]
    return {verb for rule in rules if resource in rule["resources"] for verb in rule["verbs"]}


def test_secrets_are_read_one_by_one() -> None:
    """Whoever may list or watch them has them all: to wait for one, and API keys, are each a right of their own."""
    plain = {name: rules for name, rules in PERMISSIONS.items() if name not in ("apiKeys", "watchSecrets")}
    assert verbs("secrets", plain) == {"get"}
    assert verbs("secrets", {"": PERMISSIONS["watchSecrets"]}) == {"watch"}
    assert verbs("secrets", {"": PERMISSIONS["apiKeys"]}) == {"list", "create", "patch", "delete"}


def test_what_only_gateways_take_is_a_group_of_its_own() -> None:
    """Where no model sleeps, the operator writes no role, and no Lease but that of its leader."""
    assert not verbs("roles", {"": PERMISSIONS["namespaced"]}) | verbs("rolebindings", {"": PERMISSIONS["namespaced"]})
    assert not verbs("leases", {"": PERMISSIONS["namespaced"]})
    needs = {"get", "list", "watch", "create", "patch", "delete"}
    assert verbs("roles", {"": PERMISSIONS["gateway"]}) == verbs("rolebindings", {"": PERMISSIONS["gateway"]}) == needs


def test_the_spec_is_the_users() -> None:
    """The operator writes the status, and nothing else of a LlamaDeployment."""
    assert verbs("llamadeployments") == {"get", "list", "watch"}
    assert verbs("llamadeployments/status") == {"update"}


def test_pods_are_neither_made_nor_run_into() -> None:
    """They are made by Deployments; touching one is a patch, and getting one tells whether a former leader is gone."""
    assert verbs("pods") == {"get", "list", "watch", "patch"}
    assert not verbs("pods/exec") | verbs("nodes/proxy")


def test_there_are_no_wildcards() -> None:
    """Each right is one that somebody wrote down."""
    for rules in PERMISSIONS.values():
        for rule in rules:
            assert not {"*", "escalate", "bind", "impersonate"} & {*rule["verbs"], *rule["resources"]}
            assert "*" not in rule["apiGroups"]


def test_roles_are_made_without_the_right_to_grant_more_than_one_has() -> None:
    """The API server then lets the operator grant a gateway its Lease, and nobody anything else."""
    assert not {"escalate", "bind"} & (verbs("roles") | verbs("rolebindings"))
    assert verbs("leases") >= {"get", "update"}
