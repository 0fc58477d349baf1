"""Speak to the API server as the administrator: the few calls that setting the cluster up takes."""

import json
import urllib.error
import urllib.request
from typing import Any, cast

from devcluster.errors import DevclusterError
from devcluster.layout import Layout
from devcluster.pki import SERVER
from devcluster.probes import tls

MANAGER = "devcluster"


class Api:
    """A client of one cluster's API server."""

    def __init__(self, layout: Layout) -> None:
        handler = urllib.request.HTTPSHandler(context=tls(layout))
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), handler)

    def get(self, path: str) -> dict[str, Any] | None:
        """Read the object or list at path; None when there is none."""
        return self._call("GET", path)

    def apply(self, path: str, body: dict[str, Any]) -> None:
        """Apply body to path, server-side.

        Raises:
            DevclusterError: It was refused.
        """
        self._call("PATCH", f"{path}?fieldManager={MANAGER}&force=true", body)

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{SERVER}{path}", data=data, method=method)  # noqa: S310 - a constant https URL
        request.add_header("Content-Type", "application/apply-patch+yaml")
        try:
            with self._opener.open(request, timeout=30) as answer:
                return cast("dict[str, Any]", json.load(answer))
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404 and method == "GET":
                    return None
                said = error.read().decode(errors="replace")
            raise DevclusterError(
                f"the API server answers {error.code} to {method} {path}: {said}", hint="see `devcluster logs`"
            ) from error
