"""Refusals of the Hub: the status, code and words of each, as huggingface.co sends them.

Texts and codes were taken from published traces of huggingface.co (2026) and from what `huggingface_hub` looks for.
One differs on purpose: for a missing repository asked for without a token, huggingface.co sends a 401 with no
`X-Error-Code`, and the client recognises it by a URL that begins with https. This server speaks http, so it adds the
code; the client then raises `RepositoryNotFoundError`, as it does in production.
"""

from http import HTTPStatus


class Refusal(Exception):  # noqa: N818 - an answer of the Hub, not a fault of this server
    """An answer other than the one asked for; `code` goes into `X-Error-Code`, `message` into `X-Error-Message`."""

    def __init__(self, status: HTTPStatus, code: str | None, message: str, *, commit: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.commit = commit

    def headers(self) -> dict[str, str]:
        """Headers that `huggingface_hub.utils.hf_raise_for_status` turns into its exceptions."""
        headers = {"X-Error-Message": self.message}
        if self.code:
            headers["X-Error-Code"] = self.code
        if self.commit:
            headers["X-Repo-Commit"] = self.commit
        if self.status is HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = 'Bearer realm="Authentication required", charset="UTF-8"'
        return headers


def invalid_token() -> Refusal:
    """The token is of no account: it was mistyped, revoked, or has expired."""
    return Refusal(HTTPStatus.UNAUTHORIZED, None, "Invalid credentials in Authorization header")


def not_signed_in() -> Refusal:
    """A page for accounts was asked for without a token."""
    return Refusal(HTTPStatus.UNAUTHORIZED, None, "Invalid username or password.")


def no_repository(*, signed_in: bool) -> Refusal:
    """The repository does not exist, or is private and not for this caller: the Hub does not say which."""
    if signed_in:
        return Refusal(HTTPStatus.NOT_FOUND, "RepoNotFound", "Repository not found")
    return Refusal(HTTPStatus.UNAUTHORIZED, "RepoNotFound", "Invalid username or password.")


def gated(repo: str, *, signed_in: bool) -> Refusal:
    """The files are for those who accepted the licence (and, with `manual`, were let in)."""
    if signed_in:
        return Refusal(
            HTTPStatus.FORBIDDEN,
            "GatedRepo",
            f"Access to model {repo} is restricted and you are not in the authorized list. "
            f"Visit https://huggingface.co/{repo} to ask for access.",
        )
    return Refusal(
        HTTPStatus.UNAUTHORIZED,
        "GatedRepo",
        f"Access to model {repo} is restricted. You must have access to it and be authenticated to access it. "
        "Please log in.",
    )


def no_revision(revision: str) -> Refusal:
    """The repository has no such branch, tag or commit."""
    return Refusal(HTTPStatus.NOT_FOUND, "RevisionNotFound", f"Invalid rev id: {revision}")


def no_entry(commit: str) -> Refusal:
    """The revision has no such file."""
    return Refusal(HTTPStatus.NOT_FOUND, "EntryNotFound", "Entry not found", commit=commit)


def no_page(path: str) -> Refusal:
    """A path that this server does not know; the message names it, since it is probably missing here."""
    return Refusal(HTTPStatus.NOT_FOUND, None, f"the test Hub has no page {path}")


def bad_request(message: str) -> Refusal:
    """A control request that cannot be understood."""
    return Refusal(HTTPStatus.BAD_REQUEST, None, message)
