"""Ask a Hub about one revision of a model: over HTTP, with a time and a size limit, and never twice at once.

The token is sent to the endpoint alone: the client drops it when it is redirected to another host. It is in no
message, log line or repr.
"""

import logging
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import aiohttp
from pydantic import SecretStr
from yarl import URL

from llama_operator.cluster import hub_answers
from llama_operator.cluster.hub_answers import Page
from llama_operator.plan.survey import HubRefusal, ModelFact

log = logging.getLogger(__name__)

_TIMEOUT: Final = aiohttp.ClientTimeout(total=20, sock_connect=5)
_MOST_BYTES: Final[dict[Page, int]] = {"listing": 16 * 2**20, "config": 2**20}
_MOST_REDIRECTS: Final = 5
_ONE_TOKEN: Final = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubQuery:
    """Which revision, at which endpoint, as whom."""

    endpoint: str
    repo: str
    revision: str
    token: SecretStr | None = None


class _RefusedError(Exception):
    """The Hub has answered, and gives no facts."""

    def __init__(self, refusal: HubRefusal) -> None:
        super().__init__(refusal.words)
        self.refusal = refusal


class HubClient:
    """The Hub over HTTP."""

    def __init__(self, session: aiohttp.ClientSession, *, timeout: aiohttp.ClientTimeout = _TIMEOUT) -> None:
        self._session = session
        self._timeout = timeout

    async def ask(self, query: HubQuery) -> ModelFact | HubRefusal:
        """Return the facts of a revision, or why there are none; never raises for what is outside this process."""
        if query.token is not None and not _ONE_TOKEN.fullmatch(query.token.get_secret_value()):
            # In a header it would be an error of the HTTP library, which repeats it.
            return HubRefusal(reason="TokenRejected", words="it is no token: it is empty, or has spaces or lines in it")
        try:
            return await self._ask(query)
        except _RefusedError as refused:
            return refused.refusal
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # Of the error only its kind: its words may repeat a URL or a header.
            kind = "no answer in time" if isinstance(error, TimeoutError) else _kind(error)
            log.info("the Hub at %s does not answer: %s", query.endpoint, kind)
            return HubRefusal(reason="HubUnreachable", words=kind)

    async def _ask(self, query: HubQuery) -> ModelFact | HubRefusal:
        repo, revision = quote(query.repo), quote(query.revision, safe="")
        body = await self._get(query, "listing", f"api/models/{repo}/revision/{revision}?blobs=true")
        listing = hub_answers.read_listing(body)
        if (refusal := listing.without_weights) is not None:
            return refusal
        # Of the commit, so that both are of the same revision; and only this page tells whether access is granted.
        config = await self._get(query, "config", f"{repo}/resolve/{listing.commit}/config.json")
        return hub_answers.fact(listing, config)

    async def _get(self, query: HubQuery, page: Page, path: str) -> bytes:
        url = URL(f"{query.endpoint.rstrip('/')}/{path}", encoded=True)
        headers = {"Accept": "application/json", "User-Agent": "llama-operator"}
        if query.token is not None:
            headers["Authorization"] = f"Bearer {query.token.get_secret_value()}"
        async with self._session.get(
            url, headers=headers, timeout=self._timeout, max_redirects=_MOST_REDIRECTS
        ) as answer:
            if answer.status != 200:
                code = hub_answers.error_code(answer.headers)
                given = query.token is not None
                raise _RefusedError(hub_answers.refusal(answer.status, code, page=page, token_given=given))
            return await _body(answer, _MOST_BYTES[page])


async def _body(answer: aiohttp.ClientResponse, most: int) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > most:
            raise _RefusedError(HubRefusal(reason="HubUnreachable", words=f"its answer is longer than {most} bytes"))
    return bytes(body)


def _kind(error: Exception) -> str:
    if isinstance(error, ValueError):
        return "its answer is not a Hub's"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name is not known"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return "its certificate is not trusted"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "no connection"
    return type(error).__name__


@asynccontextmanager
async def hub_over_http() -> AsyncGenerator[HubClient]:
    """Open the connections to Hubs, and close them at the end; proxies are those of the environment."""
    # No cookies: one Hub's, or one account's, are not for the next.
    async with aiohttp.ClientSession(trust_env=True, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield HubClient(session)
