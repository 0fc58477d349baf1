"""The Hub as the loader uses it: a revision's commit and files, and one file's URL. Errors leave as `LoadError`."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import quote

import httpx2
from huggingface_hub import HfApi
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils import get_session

from llama_inference.engine.hub_errors import Place, explain
from llama_inference.engine.selection import Listing, RemoteFile
from llama_inference.engine.token import TokenFile
from llama_inference.errors import LoadError, LoadReason

RESOLVE_TIMEOUT_S = 20.0
PLAIN_TOKEN = re.compile(r"[!-~]+")


class Hub:
    """One repository at one revision, at one endpoint; the token is read again for each call."""

    def __init__(self, endpoint: str, model: str, revision: str, token: TokenFile) -> None:
        self.endpoint = endpoint.rstrip("/")
        self.model = model
        self.revision = revision
        self._token = token

    @property
    def client(self) -> httpx2.Client:
        """The HTTP client shared with the Hub's own library: same proxies, same trust."""
        return get_session()

    def _bearer(self) -> str | None:
        """Return the token.

        Raises:
            LoadError: TokenRejected when it cannot stand in a header: the error of an HTTP library would repeat it.
        """
        token = self._token.read()
        if token is None or PLAIN_TOKEN.fullmatch(token):
            return token
        message = (
            f"{self._token.path} holds something else than one token, such as several lines or a character that no "
            "token has: correct the Secret that is mounted there"
        )
        raise LoadError(LoadReason.TOKEN_REJECTED, message)

    def headers(self) -> dict[str, str]:
        """Authorization, when there is a token; the client drops it when redirected to another host.

        Raises:
            LoadError: TokenRejected when the token cannot be one.
        """
        token = self._bearer()
        return {"authorization": f"Bearer {token}"} if token else {}

    def url(self, commit: str, path: str) -> str:
        """Where a file of a commit is."""
        return f"{self.endpoint}/{self.model}/resolve/{quote(commit, safe='')}/{quote(path)}"

    @contextmanager
    def explained(self) -> Generator[None]:
        """Turn what the Hub's client raises inside the block into a `LoadError`."""
        had_token = self._token.read() is not None
        try:
            yield
        except LoadError:
            raise
        except Exception as error:
            place = Place(self.endpoint, self.model, self.revision, self._token.path, had_token)
            explained = explain(error, place)
            if explained is None:
                raise
            raise explained from error

    def list_files(self) -> Listing:
        """Resolve the revision to a commit, and list its files with sizes and hashes.

        Raises:
            LoadError: with any of the Hub's reasons.
        """
        with self.explained():
            try:
                info = HfApi(endpoint=self.endpoint).model_info(
                    self.model,
                    revision=self.revision,
                    files_metadata=True,
                    timeout=RESOLVE_TIMEOUT_S,
                    token=self._bearer() or False,  # False: never another token lying about on the machine
                )
            except httpx2.TransportError as error:
                raise httpx2.ConnectError(str(error) or type(error).__name__) from error
        if info.sha is None:
            message = f"{self.endpoint} names no commit, as a Hub does: correct spec.model.endpoint"
            raise LoadError(LoadReason.NOT_A_HUB, message)
        files = [_remote(sibling) for sibling in info.siblings or ()]
        return Listing(info.sha, {file.path: file for file in files if file is not None})


def _remote(sibling: RepoSibling) -> RemoteFile | None:
    """A file with what is needed to check it; None when the Hub does not tell."""
    if sibling.lfs is not None:
        return RemoteFile(sibling.rfilename, sibling.lfs.size, sibling.lfs.sha256)
    if sibling.size is None or sibling.blob_id is None:
        return None
    return RemoteFile(sibling.rfilename, sibling.size, sibling.blob_id)
