"""Device registrations: which devices a user has under an app, and the moves of tokens between users."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from server.domain.devices import MAX_DEVICES, Device, DeviceRegistration, NewDevice
from server.domain.errors import Invalid, Violation
from server.domain.requests import Done, RequestKey
from server.store import idempotency, transactions
from server.store.database import Connection, Database
from server.store.numbers import PROVIDER_OF, PROVIDERS
from server.store.statements import Statements
from server.store.tokens import token_hash

_SQL = Statements("registrations")


class Registrations:
    """The device registrations of all accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, account: UUID, new: NewDevice, key: RequestKey | None = None) -> Done[UUID]:
        """Give the device to the user and return the registration that it is in now.

        A device that another user of the app has moves, and a registration left without devices is deleted. Raises
        ``Invalid`` for an unknown app or user and for one device more than a registration can have, ``Conflict`` as
        ``idempotency.begin`` does; nothing is changed then.
        """
        return await idempotency.run(
            self._database, account, key, lambda connection: _register(connection, account, new)
        )

    async def get(self, account: UUID, registration_id: UUID) -> DeviceRegistration | None:
        """Return the registration with its devices, or None."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL.get, account, registration_id)
        return _registration(row) if row else None


async def _register(connection: Connection, account: UUID, new: NewDevice) -> UUID:
    provider, digest = PROVIDERS[new.device.provider], token_hash(new.device.token)
    claimed = await connection.fetchrow(_SQL.claim_token, account, new.app_name, provider, digest)
    if claimed is None:
        raise Invalid(Violation("app_name", "there is no such app" if new.app_name else "there is no app"))
    app, holder = claimed["app_id"], claimed["holder_id"]
    if holder is not None and holder == new.user_id:
        refreshed: UUID = await connection.fetchval(_SQL.refresh, account, app, provider, digest)
        return refreshed
    if holder is not None or new.user_id is not None:
        await _admit(connection, account, app, new.user_id, holder)
    registration: UUID | None = await connection.fetchval(
        _SQL.put_device, account, app, new.user_id, provider, digest, new.device.token, claimed["held_in"], holder
    )
    if registration is None:
        raise transactions.Overtaken
    return registration


async def _admit(connection: Connection, account: UUID, app: UUID, user: UUID | None, holder: UUID | None) -> None:
    """Lock both users, and see that the one who gets the device can have it."""
    locked = await connection.fetchrow(_SQL.lock_people, account, app, user, holder)
    if user is None:
        return
    if not locked["known"]:
        raise Invalid(Violation("user_id", "there is no such user"))
    if locked["deleted_at"] is not None:
        raise Invalid(Violation("user_id", "the user was deleted"))
    # A statement of its own: the one that waited for the lock still sees what was before.
    if await connection.fetchval(_SQL.count_devices, account, app, user) >= MAX_DEVICES:
        raise Invalid(Violation("token", f"the user has {MAX_DEVICES} devices under this app, the most there can be"))


def _registration(row: asyncpg.Record) -> DeviceRegistration:
    devices = [Device(PROVIDER_OF[provider], token) for provider, token in row["devices"]]
    return DeviceRegistration(row["registration_id"], row["app_name"], row["user_id"], devices)
