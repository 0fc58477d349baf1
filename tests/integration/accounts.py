"""Accounts for the operator: an identity with exactly the rights that it is given."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from llama_operator.cluster.permissions import PERMISSIONS
from tests.integration.proxy import ApiProxy
from tests.support.cluster import Namespace, write_kubeconfig
from tests.support.kubectl import kubectl_ok

_RBAC: Final = "rbac.authorization.k8s.io"


def add_account(home: Namespace, name: str) -> None:
    """Create an account that may lead, and nothing else."""
    home.run("create", "serviceaccount", name)
    grant(home, PERMISSIONS["leadership"], name, home)


def grant(space: Namespace, rules: list[dict[str, Any]], account: str, home: Namespace) -> None:
    """Give an account of the operator's namespace these rights in another."""
    role = {"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": {"name": account}, "rules": rules}
    space.run("create", "-f", "-", stdin=role)
    space.run("create", "-f", "-", stdin=_binding("RoleBinding", "Role", account, account, home))


@contextmanager
def granted_everywhere(rules: list[dict[str, Any]], account: str, home: Namespace) -> Generator[None]:
    """Give an account of the operator's namespace these rights in the whole cluster, for as long as the block."""
    name = f"{account}-{home.name}"
    role = {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}
    kubectl_ok("create", "-f", "-", stdin=role)
    kubectl_ok("create", "-f", "-", stdin=_binding("ClusterRoleBinding", "ClusterRole", name, account, home))
    try:
        yield
    finally:
        kubectl_ok("delete", "clusterrolebinding,clusterrole", name)


def _binding(kind: str, role_kind: str, role: str, account: str, home: Namespace) -> dict[str, Any]:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": kind,
        "metadata": {"name": role},
        "roleRef": {"apiGroup": _RBAC, "kind": role_kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": home.name}],
    }


def kubeconfig_of(account: str, home: Namespace, api: ApiProxy, folder: Path) -> Path:
    """Write the kubeconfig of an account, through the proxy."""
    path = folder / f"kubeconfig-{account}"
    write_kubeconfig(path, home.run("create", "token", account).strip(), {"server": api.url})
    return path
