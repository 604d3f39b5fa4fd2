"""What a running service has in its database, seen from outside of it."""

from __future__ import annotations

import asyncpg

from server.localpg import LocalPostgres
from tests.acceptance.programs import Up

_TABLES = (
    "operations",
    "batches",
    "users",
    "devices",
    "device_registrations",
    "credentials",
    "apps",
    "idempotency_keys",
)


async def rows(up: Up) -> dict[str, int]:
    """How many rows each table has that a request can write to, all accounts together."""
    connection = await asyncpg.connect(LocalPostgres(up.data_dir / "postgres").dsn("pharos"), timeout=10)
    try:
        return {
            table: await connection.fetchval(f"select count(*) from {table}")  # noqa: S608 - the names above
            for table in _TABLES
        }
    finally:
        await connection.close(timeout=10)
