"""What the feed's order would be without the feed row's lock: numbers from a sequence, and readers of `seq > cursor`.

Only tests use it. The flush differs from the real one in where its number comes from, and in nothing else; so does the
reading, which has no row that says where the feed ends.
"""

from __future__ import annotations

from uuid import UUID

import pytest

from server.domain.feed import Position
from server.store import jobs
from server.store.statements import Statements
from tests.integration.store.sending import Sending
from tests.integration.watch.attentive import AttentiveFeed

_LOCKED = "update feeds f set last_seq = f.last_seq + 1 from tallied where f.account_id = $1 returning f.last_seq"
_NAIVE = "select nextval('naive_numbers') as last_seq from tallied"
_END = """
select epoch, (select coalesce(max(seq), 0) from events where account_id = $1) as seq
from feeds where account_id = $1"""


class _NaiveStatements(Statements):
    @property
    def flush(self) -> str:
        real = super().__getattr__("flush")
        assert real.count(_LOCKED) == 1, (
            "the flush takes its number in another way now: this has to be made like it again"
        )
        return real.replace(_LOCKED, _NAIVE)


class NaiveFeed(AttentiveFeed):
    """Ends where its highest number is."""

    async def position(self, account: UUID) -> Position:
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_END, account)
        return Position(row["epoch"], row["seq"])


async def number_by_sequence(sending: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on flushes take their numbers from a sequence, which goes on where the feed is."""
    await sending.fetch("create sequence naive_numbers")
    await sending.fetch("select setval('naive_numbers', last_seq) from feeds where account_id = $1", sending.account)
    monkeypatch.setattr(jobs, "_SQL", _NaiveStatements("jobs"))
