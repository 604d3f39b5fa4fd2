"""Looking for webhooks that have something to do costs what is found, not what there is."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from server.store.statements import Statements
from tests.integration.store.sending import Sending
from tests.integration.webhooks.deliverers import Owner

_SQL = Statements("webhook_turns")
_LEASE = timedelta(seconds=60)
_MANY = """
with accounts as (
  insert into accounts (account_id, name, auth_token_hash)
  select gen_random_uuid(), '', '' from generate_series(1, 1000) returning account_id),
feeds as (insert into feeds (account_id) select account_id from accounts returning account_id, epoch)
insert into webhooks (account_id, url, event_types, description, sealed, epoch, last_seq)
select account_id, 'https://hooks.example/', '{}', '', '', epoch, 0 from feeds, generate_series(1, 10)
"""


@pytest.mark.parametrize("grown", [False, True], ids=["nothing happened", "a feed grew"])
async def test_a_look_at_10000_webhooks_reads_those_that_it_is_about(
    sending: Sending, owner: Owner, *, grown: bool
) -> None:
    await sending.fetch(_MANY)
    webhook = await owner.webhook("https://hooks.example/")
    await sending.fetch("vacuum analyze webhooks, feeds")
    if grown:
        await owner.send()
    plan = await _explain(sending, [owner.account] if grown else [])
    assert "Seq Scan on webhooks" not in plan
    assert "Seq Scan on feeds" not in plan
    assert _pages(plan) < 100
    claimed = await sending.fetch(_SQL.claim, 10, _LEASE, [owner.account], False)
    assert [row["webhook_id"] for row in claimed] == ([webhook] if grown else [])


async def test_of_all_accounts_only_grown_feeds_have_their_webhooks_claimed(sending: Sending, owner: Owner) -> None:
    await sending.fetch(_MANY)
    webhook = await owner.webhook("https://hooks.example/")
    await owner.send()
    claimed = await sending.fetch(_SQL.claim, 10, _LEASE, [], True)
    assert [row["webhook_id"] for row in claimed] == [webhook]


async def _explain(sending: Sending, accounts: list[UUID]) -> str:
    """The plan that any parameters get, as it ran; what it did is undone."""
    async with sending.database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("set local plan_cache_mode = force_generic_plan")
        rows = await connection.fetch(
            f"explain (analyze, buffers, costs off, timing off) {_SQL.claim}", 10, _LEASE, accounts, False
        )
        await transaction.rollback()
    return "\n".join(row[0] for row in rows)


def _pages(plan: str) -> int:
    """Pages of all that was touched: the uppermost node's."""
    line = next(line for line in plan.splitlines() if "Buffers: shared" in line)
    return sum(int(part.partition("=")[2]) for part in line.split() if part.startswith(("hit=", "read=")))
