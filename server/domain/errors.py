"""What can go wrong with a request, in the service's own words. Mapped to gRPC once, in ``api``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One wrong field. ``field`` is its path in the contract's names, such as ``to[3].token``."""

    field: str
    message: str


class DomainError(Exception):
    """Base of all errors that a caller is told about. The text is for callers: no secret, SQL or driver text."""


class Invalid(DomainError):
    """The request can't be carried out as it is written."""

    def __init__(self, *violations: Violation) -> None:
        super().__init__("; ".join(f"{violation.field}: {violation.message}" for violation in violations))
        self.violations: Sequence[Violation] = violations


class TokenMalformed(Invalid):
    """A resume token that is not ours, or was changed."""

    def __init__(self, why: str) -> None:
        super().__init__(Violation("resume_token", why))


class TokenForeign(TokenMalformed):
    """A resume token of another stream."""


class TokenExpired(TokenMalformed):
    """A resume token whose place is no longer kept."""


class Unauthenticated(DomainError):
    """No account with these credentials."""


class NotFound(DomainError):
    """No such resource in the account."""


class Conflict(DomainError):
    """The resource's state, or an earlier request with the same key, does not allow it.

    ``retry_after`` (seconds) is set where coming back later can help.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotImplementedYet(DomainError):
    """The contract has it, this server not yet."""


class SlowReader(DomainError):
    """A stream's reader does not take its messages."""


class Unavailable(DomainError):
    """The service can't answer now; the same request may succeed in ``retry_after`` seconds."""

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after
