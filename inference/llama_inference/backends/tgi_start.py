"""The wait for a TGI server that still reads its model: no failure, however long it takes."""

import logging
import time
from collections.abc import Callable
from typing import Final

import httpx2

from llama_inference.errors import LoadError, LoadReason

log = logging.getLogger(__name__)
AGAIN_S: Final = 1.0
TOLD_S: Final = 60.0
ANSWER_S: Final = 30.0
"""How long a health check may take: TGI answers its first one by generating a token."""

_NOT_YET: Final = (httpx2.NetworkError, httpx2.TimeoutException, httpx2.RemoteProtocolError)


def wait_until_up(url: str, *, pause: Callable[[float], None] = time.sleep) -> None:
    """Return once the TGI server at `url` says that it is healthy.

    Its launcher starts to listen when the model is loaded, so nobody at the port is a model that loads, or one whose
    server has ended and is started anew: the container says which, and who watches it.

    Args:
        url: where the server is to answer.
        pause: waits for that many seconds; tests hand in their own.

    Raises:
        LoadError: LoadFailed, when it answers that it has failed, or answers as no TGI server does.
    """
    target = f"{url.rstrip('/')}/health"
    waited = told = 0.0
    # Never through a proxy that the environment names for the Hub.
    with httpx2.Client(timeout=ANSWER_S, trust_env=False) as client:
        while True:
            try:
                client.get(target).raise_for_status()
            except _NOT_YET as error:
                if waited >= told:
                    log.info("TGI is still starting", extra={"url": url, "detail": str(error) or type(error).__name__})
                    told = waited + TOLD_S
                pause(AGAIN_S)
                waited += AGAIN_S
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                message = f"the TGI server at {url} is not healthy: {error or type(error).__name__}"
                raise LoadError(LoadReason.LOAD_FAILED, message) from error
            else:
                return
