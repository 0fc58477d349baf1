"""How to reach the API server and as whom: KUBECONFIG, else the pod's service account, else ~/.kube/config."""

import os
from dataclasses import dataclass, field

from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config
from yaml import YAMLError

from llama_operator.errors import ClusterError


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What another HTTP client needs for the same access; paths are files, `authorization` is a header's value."""

    server: str
    ca_path: str | None
    insecure: bool
    authorization: str | None = field(repr=False)
    certificate_path: str | None
    private_key_path: str | None


async def configuration() -> Configuration:
    """Return the client's configuration, read anew.

    Raises:
        ClusterError: if there is none, or it cannot be used.
    """
    found = Configuration()
    try:
        if "KUBECONFIG" not in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ:
            load_incluster_config(client_configuration=found)
        else:
            # Named here, for the client looks into the environment once, when it is imported.
            path = os.environ.get("KUBECONFIG")
            await load_kube_config(config_file=path, client_configuration=found, persist_config=False)
    except (ConfigException, OSError, YAMLError) as error:
        raise ClusterError(f"no way to the API server: {error}; set KUBECONFIG, or run in a pod") from error
    return found


async def access() -> Access:
    """Return the same as `configuration`, in plain values.

    Raises:
        ClusterError: as `configuration` does.
    """
    found = await configuration()
    return Access(
        server=found.host,
        ca_path=found.ssl_ca_cert,
        insecure=not found.verify_ssl,
        authorization=await found.get_api_key_with_prefix("BearerToken"),
        certificate_path=found.cert_file,
        private_key_path=found.key_file,
    )
