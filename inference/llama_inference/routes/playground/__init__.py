"""The playground: one page at `/` that tries predict out, off by default.

The page is plain HTML, CSS and JavaScript beside this module: nothing to build, and nothing from elsewhere, which its
Content-Security-Policy holds the browser to.
"""

from pathlib import Path
from typing import Final

from fastapi import APIRouter, Response

FOLDER: Final = Path(__file__).parent
MEDIA_TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",  # of a server that is replaced, the page is too
}


def router() -> APIRouter:
    """Return the routes of the page and its files."""
    routes = APIRouter(include_in_schema=False)
    for path in sorted(FOLDER.iterdir()):
        if path.suffix in MEDIA_TYPES:
            _add(routes, "/" if path.name == "index.html" else f"/playground/{path.name}", path)
    return routes


def _add(routes: APIRouter, route: str, path: Path) -> None:
    content, media_type = path.read_bytes(), MEDIA_TYPES[path.suffix]

    async def answer() -> Response:
        return Response(content, media_type=media_type, headers=HEADERS)

    routes.add_api_route(route, answer, methods=["GET"])
