"""How the cluster is found: the kubeconfig, its context, its credentials, or the account of the pod."""

import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final, cast

import urllib3
import yaml
from kubernetes import client, config

from kubectl_llama.edge.kube import KubeCluster, Object, seconds
from kubectl_llama.errors import ClusterError


def connect(flags: Mapping[str, Any]) -> KubeCluster:
    """Return the cluster that the flags name, as kubectl would find it; nothing is asked yet.

    Raises:
        ClusterError: if no kubeconfig names one.
    """
    settings = client.Configuration()
    file, context = flags.get("kubeconfig"), flags.get("context")
    complaints: list[str] = []
    try:
        with _heard(complaints):
            config.load_kube_config(config_file=file, context=context, client_configuration=settings)
        namespace = _namespace(file, context)
    except (yaml.YAMLError, ValueError, AttributeError, KeyError) as error:
        # Not repeated: what cannot be read may be a token.
        mark = getattr(error, "problem_mark", None)
        raise ClusterError(
            "the kubeconfig cannot be read: it is no YAML" + (f" in line {mark.line + 1}" if mark else "")
            if isinstance(error, yaml.YAMLError)
            else f"the kubeconfig cannot be read: it is not of the form of one ({type(error).__name__})",
            code="NoKubeconfig",
            fix="mend it, or name another one with --kubeconfig",
        ) from None
    except (config.ConfigException, OSError, TypeError) as error:
        if file or context or not _within(settings):
            raise ClusterError(
                f"no cluster is configured: {error}",
                code="NoKubeconfig",
                fix="set KUBECONFIG, or name one with --kubeconfig",
            ) from None
        namespace = _own_namespace()
    if complaints:
        raise ClusterError(
            f"the credentials that the kubeconfig names cannot be had: {complaints[0]}",
            code="NoCredentials",
            fix="run its command by hand, or log in anew",
        )
    settings.retries = urllib3.Retry(total=2, connect=1, read=False, redirect=False, status=False)  # type: ignore[assignment]
    api = client.ApiClient(settings)
    asked = flags.get("request_timeout")
    timeout = seconds(str(asked), "--request-timeout") if asked else None
    user, groups = str(flags.get("as_user") or ""), tuple(flags.get("as_group") or ())
    return KubeCluster(api, namespace, timeout, user=user, groups=groups)


@contextmanager
def _heard(said: list[str]) -> Generator[None]:
    """Collect what the client would only log: that a credential plugin gave nothing, after which it asks as nobody."""

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR:
                what = " ".join(record.getMessage().split())[:500]
                # The client's own slip where a plugin has told people at a terminal by itself.
                said.append("its plugin ends with an error" if "NoneType" in what else what)

    root, listener = logging.getLogger(), Listener()
    root.addHandler(listener)
    try:
        yield
    finally:
        root.removeHandler(listener)


def _namespace(file: str | None, context: str | None) -> str:
    contexts, active = cast("tuple[list[Object], Object]", config.list_kube_config_contexts(config_file=file))
    chosen = next((row for row in contexts if row["name"] == context), active)
    return str((chosen.get("context") or {}).get("namespace") or "default")


_ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"


def _within(settings: client.Configuration) -> bool:
    """Whether this runs in a pod, whose account is then used, as kubectl does."""
    try:
        config.load_incluster_config(client_configuration=settings)
    except config.ConfigException:
        return False
    return True


def _own_namespace() -> str:
    from pathlib import Path  # noqa: PLC0415

    return Path(_ACCOUNT).read_text().strip()
