"""Provider credentials as the service handles them: raw content once, at upload; sealed ever after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID


class CredentialType(StrEnum):
    """The contract's names. The two APN types differ in the environment of Apple's that they speak to."""

    FCM = "FCM"
    APN = "APN"
    APN_SANDBOX = "APN_SANDBOX"


@dataclass(frozen=True, slots=True)
class CredentialContent:
    """What a caller uploads. ``private_key`` and ``certificate`` are base64 of a file's bytes; absent is None."""

    private_key: str | None = field(default=None, repr=False)
    certificate: str | None = field(default=None, repr=False)
    key_id: str | None = None
    team_id: str | None = None
    topic: str | None = None


class ContentProblem(NamedTuple):
    """``field`` is a path in the request, as ``content.privateKey``; ``message`` never quotes the content."""

    field: str
    message: str


class InvalidCredentialContent(ValueError):
    """The uploaded content can't be used. Carries every problem found, not the first alone."""

    def __init__(self, problems: Sequence[ContentProblem]) -> None:
        super().__init__("; ".join(f"{problem.field} {problem.message}" for problem in problems))
        self.problems = tuple(problems)


def seal_context(account_id: str, credential_id: UUID) -> str:
    """What a credential's seal is bound to: a sealed blob moved to another row or account does not open."""
    return f"credential/{account_id}/{credential_id}"


@dataclass(frozen=True, slots=True)
class SealedCredential:
    """A stored credential. ``version`` grows whenever its content is replaced."""

    account_id: str
    credential_id: UUID
    version: int
    credential_type: CredentialType
    sealed: bytes = field(repr=False)

    @property
    def seal_context(self) -> str:
        return seal_context(self.account_id, self.credential_id)
