"""Reads a body that is compressed, `Content-Encoding: gzip` or `deflate`, within the limit for what comes out of it.

It is inflated piece by piece and no further than the limit, so that a small body that would become a huge one costs
no more than the limit itself.
"""

import zlib
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llama_inference.errors import InvalidRequestError, RequestError, UnsupportedMediaTypeError
from llama_inference.middleware.body_limit import too_large

GZIP: Final = 16 + zlib.MAX_WBITS
ZLIB: Final = zlib.MAX_WBITS
RAW: Final = -zlib.MAX_WBITS  # what some clients send as deflate
ENCODINGS: Final = {"gzip": GZIP, "x-gzip": GZIP, "deflate": ZLIB}


class Inflate:
    """Hands a compressed body on as what it was; `max_bytes` bounds that. Raises in whoever reads the body."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        encoding = Headers(scope=scope).get("content-encoding", "").strip().lower() if scope["type"] == "http" else ""
        if encoding in ("", "identity"):
            await self.app(scope, receive, send)
            return
        body = Inflated(encoding, self.max_bytes) if encoding in ENCODINGS else None

        async def receive_inflated() -> Message:
            if body is None:
                raise _unknown(encoding)
            message = await receive()
            if message["type"] != "http.request":
                return message
            return {**message, "body": body.take(message.get("body", b""), last=not message.get("more_body", False))}

        await self.app(scope, receive_inflated, send)


class Inflated:
    """One compressed body on its way in."""

    def __init__(self, encoding: str, max_bytes: int) -> None:
        """`encoding` is one of `ENCODINGS`."""
        self._encoding = encoding
        self._max_bytes = max_bytes
        self._left = max_bytes
        self._begun = False
        self._reader = zlib.decompressobj(ENCODINGS[encoding])

    def take(self, data: bytes, *, last: bool) -> bytes:
        """Return what a piece becomes.

        Raises:
            BodyTooLargeError: more than the limit has come out.
            InvalidRequestError: it is not compressed as it says, or ends too early.
        """
        found = b""
        try:
            while data:
                found += self._inflate(data)
                data = self._reader.unused_data
                if data and self._reader.eof:  # gzip files may be joined
                    if self._encoding == "deflate":
                        raise self._damaged("something follows it")
                    self._reader = zlib.decompressobj(GZIP)
        except zlib.error:
            raise self._damaged("it is damaged, or compressed otherwise") from None
        if last and self._begun and not self._reader.eof:
            raise self._damaged("it ends too early")
        return found

    def _inflate(self, data: bytes) -> bytes:
        if not self._begun and self._encoding == "deflate" and not _has_header(data):
            self._reader = zlib.decompressobj(RAW)
        self._begun = True
        piece = self._reader.decompress(data, self._left + 1)  # one byte more tells that it is too much
        self._left -= len(piece)
        if self._left < 0:
            raise too_large(self._max_bytes, as_what="the inflated body")
        return piece

    def _damaged(self, how: str) -> InvalidRequestError:
        message = f"the body is no {self._encoding} as Content-Encoding says: {how}"
        return InvalidRequestError(message, code="invalid_encoding", param="Content-Encoding")


def _has_header(data: bytes) -> bool:
    """Whether a body of deflate has zlib's header, as it should: its first byte names the method (RFC 1950)."""
    return data[0] & 0x0F == zlib.DEFLATED and data[0] >> 4 < 8


def _unknown(encoding: str) -> RequestError:
    message = f"send Content-Encoding: gzip or deflate, or none; it is {encoding[:60]}"
    error = UnsupportedMediaTypeError(message, param="Content-Encoding")
    error.headers = {"accept-encoding": "gzip, deflate"}
    return error
