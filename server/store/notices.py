"""News of an account in its feed, besides what became of recipients."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import msgspec

from server.domain.notices import RemovalsStopped
from server.store.database import Connection
from server.store.statements import Statements

_SQL = Statements("notices")
_REMOVALS_STOPPED = 2  # as the migration numbers the kinds


async def write_removals_stopped(connection: Connection, account: UUID, stop: RemovalsStopped) -> None:
    """Say in the feed that devices are kept though they "died". The last write of the caller's transaction."""
    body = {
        "operation_id": stop.operation_id.hex,
        "credential_id": stop.credential_id.hex,
        "code": stop.code,
        "devices": stop.devices,
    }
    await _write(connection, account, _REMOVALS_STOPPED, body)


async def _write(connection: Connection, account: UUID, kind: int, body: Mapping[str, object]) -> None:
    await connection.execute(_SQL.write, account, kind, msgspec.json.encode(body).decode())
