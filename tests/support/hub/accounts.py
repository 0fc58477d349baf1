"""Accounts and their tokens, and who may see or download what.

Tokens live in memory only; nothing here prints one or gives one back.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from . import errors
from .repos import Repo


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: nobody (no token), an account, or the bearer of a token that the Hub does not know."""

    account: str | None = None
    token_given: bool = False

    @property
    def rejected(self) -> bool:
        """A token was sent and is no account's."""
        return self.token_given and self.account is None


@dataclass(slots=True)
class Tokens:
    """The accounts of the Hub: token to account, and account to the repositories that it may download."""

    _accounts: dict[str, str] = field(default_factory=dict[str, str])
    _granted: dict[str, set[str]] = field(default_factory=dict[str, set[str]])

    def add(self, token: str, *, account: str, grants: Iterable[str] = ()) -> None:
        """Make a token valid for an account, and let the account download the gated or private repositories named."""
        self._accounts[token] = account
        self._granted.setdefault(account, set()).update(grants)

    def revoke(self, token: str) -> None:
        """Make a token invalid; the account keeps its grants."""
        self._accounts.pop(token, None)

    def grant(self, account: str, repo: str) -> None:
        """Let an account in, as an owner does who accepts a request for access."""
        self._granted.setdefault(account, set()).add(repo)

    def withdraw(self, account: str, repo: str) -> None:
        """Take the access back."""
        self._granted.setdefault(account, set()).discard(repo)

    def caller(self, authorization: str | None) -> Caller:
        """Read an `Authorization` header."""
        if not authorization:
            return Caller()
        return Caller(self._accounts.get(authorization.removeprefix("Bearer ").strip()), token_given=True)

    def granted(self, caller: Caller, repo: Repo) -> bool:
        """Whether the caller's account was let into the repository."""
        return caller.account is not None and repo.name in self._granted.get(caller.account, set())

    def check_seen(self, caller: Caller, repo: Repo | None) -> Repo:
        """Let the caller see the repository and its listing: everybody may, unless it is private.

        Raises:
            Refusal: the token is invalid, or there is no such repository for this caller.
        """
        if caller.rejected:
            raise errors.invalid_token()
        if repo is None or (repo.private and not self.granted(caller, repo)):
            raise errors.no_repository(signed_in=caller.account is not None)
        return repo

    def check_files(self, caller: Caller, repo: Repo | None) -> Repo:
        """Let the caller download from the repository.

        On huggingface.co the gate is looked at before the token: the files of a gated repository answer a wrong token
        with the same 401 `GatedRepo` as no token. Only the API pages say that the token is at fault.

        Raises:
            Refusal: as `check_seen`, or the repository is gated and the account was not let in.
        """
        if repo is not None and repo.gated and not repo.private and not self.granted(caller, repo):
            raise errors.gated(repo.name, signed_in=caller.account is not None)
        return self.check_seen(caller, repo)
