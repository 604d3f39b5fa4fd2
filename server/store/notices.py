"""News of an account in its feed, besides what became of recipients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from server.domain.notices import DevicesRemoved, HealthChanged, Notice, RemovalsStopped, RemovedDevice, UnknownNotice
from server.store.database import Connection
from server.store.statements import Statements

_SQL = Statements("notices")
_HEALTH_CHANGED, _REMOVALS_STOPPED, _DEVICES_REMOVED = 1, 2, 3


async def write_health_changed(connection: Connection, account: UUID, changed: HealthChanged) -> None:
    """Say in the feed what a credential's health came to. The last write of the caller's transaction."""
    await _write(connection, account, _HEALTH_CHANGED, msgspec.to_builtins(changed))


async def write_removals_stopped(connection: Connection, account: UUID, stop: RemovalsStopped) -> None:
    """Say in the feed that devices are kept though they "died". The last write of the caller's transaction."""
    await _write(connection, account, _REMOVALS_STOPPED, msgspec.to_builtins(stop))


async def write_devices_removed(
    connection: Connection, account: UUID, operation: UUID, devices: Sequence[RemovedDevice]
) -> None:
    """Say in the feed which devices a flush of the operation removed. The last write of the caller's transaction."""
    app_name = await connection.fetchval(_SQL.app_of, account, operation)
    removed = DevicesRemoved(operation, app_name or "", devices)
    await _write(connection, account, _DEVICES_REMOVED, msgspec.to_builtins(removed))


async def _write(connection: Connection, account: UUID, kind: int, body: Mapping[str, object]) -> None:
    await connection.execute(_SQL.write, account, kind, msgspec.json.encode(body).decode())


def notice_from(kind: int, body: str) -> Notice:
    """Return the notice in a row of ``notices``."""
    if kind == _HEALTH_CHANGED:
        return msgspec.json.decode(body, type=HealthChanged)
    if kind == _DEVICES_REMOVED:
        return msgspec.json.decode(body, type=DevicesRemoved)
    if kind == _REMOVALS_STOPPED:
        return msgspec.json.decode(body, type=RemovalsStopped)
    return UnknownNotice()
