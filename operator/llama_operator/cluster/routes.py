"""Ask whether a Service leads anywhere yet: a pod is ready a moment before the nodes route to it.

The EndpointSlice would not tell: kube-proxy follows it with up to a second's delay, and only then do callers get
through (https://kubernetes.io/docs/reference/networking/virtual-ips/).
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol

log = logging.getLogger(__name__)


class Routes(Protocol):
    """Whoever can tell whether a Service is reached."""

    async def refuses(self, service: Mapping[str, Any]) -> bool:
        """Return whether connections to this Service are refused just now; never raises."""
        ...


class TcpRoutes:
    """`Routes` by connecting to the Service's first port; nothing is sent."""

    def __init__(self, *, timeout_seconds: float = 1.0) -> None:
        self._timeout_seconds = timeout_seconds

    async def refuses(self, service: Mapping[str, Any]) -> bool:
        """Connect once.

        Only a refusal counts: it is what a node answers while a Service has no endpoints there. Silence may be a
        network policy, or an operator that runs outside the cluster, and says nothing of other callers.
        """
        address, port = service["spec"].get("clusterIP"), service["spec"]["ports"][0]["port"]
        if address in (None, "", "None"):
            return False
        try:
            async with asyncio.timeout(self._timeout_seconds):
                _, writer = await asyncio.open_connection(address, port)
        except ConnectionRefusedError:
            return True
        except (OSError, TimeoutError) as error:
            log.debug("the Service at %s port %d could not be tried: %s", address, port, type(error).__name__)
            return False
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return False
