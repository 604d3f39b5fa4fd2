"""News of an account in its feed, besides what became of recipients."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import msgspec

from server.domain.notices import HealthChanged, Notice, RemovalsStopped
from server.store.database import Connection
from server.store.statements import Statements

_SQL = Statements("notices")
_HEALTH_CHANGED = 1  # as the migration numbers the kinds; the other is 2


async def write_health_changed(connection: Connection, account: UUID, changed: HealthChanged) -> None:
    """Say in the feed what a credential's health came to. The last write of the caller's transaction."""
    await _write(connection, account, _HEALTH_CHANGED, msgspec.to_builtins(changed))


async def _write(connection: Connection, account: UUID, kind: int, body: Mapping[str, object]) -> None:
    await connection.execute(_SQL.write, account, kind, msgspec.json.encode(body).decode())


def notice_from(kind: int, body: str) -> Notice:
    """Return the notice in a row of ``notices``."""
    if kind == _HEALTH_CHANGED:
        return msgspec.json.decode(body, type=HealthChanged)
    return msgspec.json.decode(body, type=RemovalsStopped)
