"""News of an account in its feed, besides what became of recipients."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import msgspec

from server.domain.notices import HealthChanged, Notice, RemovalsStopped
from server.store.database import Connection
from server.store.statements import Statements

_SQL = Statements("notices")
_HEALTH_CHANGED, _REMOVALS_STOPPED = 1, 2  # as the migration numbers the kinds


async def write_health_changed(connection: Connection, account: UUID, changed: HealthChanged) -> None:
    """Say in the feed what a credential's health came to. The last write of the caller's transaction."""
    await _write(connection, account, _HEALTH_CHANGED, msgspec.to_builtins(changed))


async def write_removals_stopped(connection: Connection, account: UUID, stop: RemovalsStopped) -> None:
    """Say in the feed that devices are kept though they "died". The last write of the caller's transaction."""
    await _write(connection, account, _REMOVALS_STOPPED, msgspec.to_builtins(stop))


async def _write(connection: Connection, account: UUID, kind: int, body: Mapping[str, object]) -> None:
    await connection.execute(_SQL.write, account, kind, msgspec.json.encode(body).decode())


def notice_from(kind: int, body: str) -> Notice:
    """Return the notice in a row of ``notices``."""
    if kind == _HEALTH_CHANGED:
        return msgspec.json.decode(body, type=HealthChanged)
    return msgspec.json.decode(body, type=RemovalsStopped)
