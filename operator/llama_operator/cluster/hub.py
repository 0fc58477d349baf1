"""Ask a Hub about one revision of a model: over HTTP, with a time and a size limit, and never twice at once.

The token is sent to the endpoint alone: the client drops it when it is redirected to another host. It is in no
message, log line or repr.
"""

import logging
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from pydantic import SecretStr
from yarl import URL

from llama_operator.cluster import hub_refusals
from llama_operator.cluster.hub_refusals import Page
from llama_operator.plan import hub_answers, hub_shapes
from llama_operator.plan.hub_answers import Listing
from llama_operator.plan.survey import HubRefusal, ModelFact

log = logging.getLogger(__name__)

_TIMEOUT: Final = aiohttp.ClientTimeout(total=20, sock_connect=5)
_MOST_BYTES: Final[dict[Page, int]] = {"listing": 16 * 2**20, "file": 16 * 2**20}
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
            found = hub_refusals.of_error(error, self._timeout.total)
            log.info("the Hub at %s does not answer: %s (%s)", query.endpoint, found.words, type(error).__name__)
            return found

    async def _ask(self, query: HubQuery) -> ModelFact | HubRefusal:
        listing = await self._listing(query)
        if hub_shapes.is_adapter(listing.names):
            return hub_shapes.adapter(await self._object(query, listing, hub_shapes.ADAPTER))
        if (refusal := listing.refusal) is not None:
            return refusal
        # Only a file tells whether access is granted.
        config = await self._object(query, listing, hub_shapes.CONFIG)
        if hub_shapes.SINGLE not in listing.names and self._is_read(listing, hub_shapes.INDEX):
            index = await self._object(query, listing, hub_shapes.INDEX)
            if (refusal := hub_answers.missing_shard(listing, index)) is not None:
                return refusal
        tokenizer = None
        if not hub_shapes.has_template_file(listing.names) and self._is_read(listing, hub_shapes.TOKENIZER_CONFIG):
            tokenizer = await self._object(query, listing, hub_shapes.TOKENIZER_CONFIG)
        return hub_answers.fact(listing, config, tokenizer)

    async def _listing(self, query: HubQuery) -> Listing:
        revision = quote(query.revision, safe="")
        try:
            body = await self._get(query, "listing", f"api/models/{quote(query.repo)}/revision/{revision}?blobs=true")
        except _RefusedError as refused:
            if refused.refusal.reason == "RepositoryNotFound":
                await self._refuse_another_kind(query)
            raise
        return hub_answers.read_listing(body)

    async def _refuse_another_kind(self, query: HubQuery) -> None:
        """Raise that a name is a dataset's or a space's, where it is; what goes wrong here says nothing."""
        for kind in ("dataset", "space"):
            try:
                await self._get(query, "listing", f"api/{kind}s/{quote(query.repo)}")
            except (_RefusedError, aiohttp.ClientError, TimeoutError, OSError):
                continue
            raise _RefusedError(hub_shapes.of_another_kind(kind))

    @staticmethod
    def _is_read(listing: Listing, name: str) -> bool:
        return name in listing.names and listing.size(name) <= _MOST_BYTES["file"]

    async def _object(self, query: HubQuery, listing: Listing, name: str) -> dict[str, Any]:
        """Return the JSON object in a file of the commit that was listed."""
        body = await self._get(query, "file", f"{quote(query.repo)}/resolve/{listing.commit}/{quote(name)}")
        found = hub_answers.read_object(body, name, listing.commit)
        if isinstance(found, HubRefusal):
            raise _RefusedError(found)
        return found

    async def _get(self, query: HubQuery, page: Page, path: str) -> bytes:
        url = URL(f"{query.endpoint.rstrip('/')}/{path}", encoded=True)
        headers = {"Accept": "application/json", "User-Agent": "llama-operator"}
        if query.token is not None:
            headers["Authorization"] = f"Bearer {query.token.get_secret_value()}"
        async with self._session.get(
            url, headers=headers, timeout=self._timeout, max_redirects=_MOST_REDIRECTS
        ) as answer:
            if answer.status != 200:
                file, given = path.rpartition("/")[2], query.token is not None
                found = hub_refusals.of_status(answer.status, answer.headers, page=page, file=file, token_given=given)
                raise _RefusedError(found)
            return await _body(answer, _MOST_BYTES[page])


async def _body(answer: aiohttp.ClientResponse, most: int) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > most:
            raise _RefusedError(HubRefusal(reason="NotAHub", words=f"its answer is longer than {most} bytes"))
    return bytes(body)


@asynccontextmanager
async def hub_over_http() -> AsyncGenerator[HubClient]:
    """Open the connections to Hubs, and close them at the end; proxies are those of the environment."""
    # No cookies: one Hub's, or one account's, are not for the next.
    async with aiohttp.ClientSession(trust_env=True, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield HubClient(session)
