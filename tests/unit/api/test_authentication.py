"""Authentication asks the directory once in a while, remembers only successes, and only so many."""

from __future__ import annotations

import base64
from uuid import UUID

import pytest

from server.api.authentication import Authenticator
from server.domain import ids
from server.domain.accounts import Identity, secret_hash
from server.domain.errors import Unauthenticated
from server.domain.ids import Kind


class _Directory:
    def __init__(self) -> None:
        self.asked = 0
        self.secret = "token"

    async def account_identity(self, account: UUID) -> Identity | None:
        self.asked += 1
        return Identity(account, secret_hash(self.secret))

    async def key_identity(self, key: UUID) -> Identity | None:  # noqa: ARG002 - the directory's
        return None


@pytest.fixture
def directory() -> _Directory:
    return _Directory()


def _header(number: int = 1, secret: str = "token") -> str:
    account = ids.encode(Kind.ACCOUNT, UUID(int=number))
    return "Basic " + base64.b64encode(f"{account}:{secret}".encode()).decode()


async def test_a_known_caller_is_not_looked_up_again(directory: _Directory) -> None:
    authenticator = Authenticator(directory)
    assert [await authenticator.account(_header()) for _ in range(3)] == [UUID(int=1)] * 3
    assert directory.asked == 1


async def test_a_caller_is_looked_up_again_after_a_while(directory: _Directory) -> None:
    authenticator = Authenticator(directory, seconds=0)
    await authenticator.account(_header())
    directory.secret = "changed"
    with pytest.raises(Unauthenticated):
        await authenticator.account(_header())


async def test_refusals_are_not_remembered(directory: _Directory) -> None:
    authenticator = Authenticator(directory)
    with pytest.raises(Unauthenticated):
        await authenticator.account(_header(secret="new"))
    directory.secret = "new"
    assert await authenticator.account(_header(secret="new")) == UUID(int=1)


async def test_only_so_many_callers_are_remembered(directory: _Directory) -> None:
    authenticator = Authenticator(directory, entries=2)
    for number in (1, 2, 3):
        await authenticator.account(_header(number))
    assert directory.asked == 3
    await authenticator.account(_header(3))
    await authenticator.account(_header(2))
    assert directory.asked == 3
    await authenticator.account(_header(1))
    assert directory.asked == 4
