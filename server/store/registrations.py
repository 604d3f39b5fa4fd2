"""Device registrations: which devices a user has under an app, and the moves of tokens between users."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from server.domain.devices import (
    MAX_DEVICES,
    TOO_MANY_DEVICES,
    USER_DELETED,
    USER_UNKNOWN,
    Device,
    DeviceRegistration,
    NewDevice,
    Registered,
    app_unknown,
)
from server.domain.errors import Invalid, NotFound, Violation
from server.domain.requests import Done, RequestKey
from server.store import idempotency, registration_batches, transactions
from server.store.apps import check_absent
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
        ``idempotency.respond`` does; nothing is changed then.
        """
        return await idempotency.run(
            self._database, account, key, lambda connection: _register(connection, account, new)
        )

    async def register_batch(
        self, account: UUID, batch: Sequence[NewDevice | Violation], key: RequestKey | None = None
    ) -> Done[Sequence[Registered]]:
        """Register the devices as if one after the other, each with a result of its own, in one transaction.

        A device that can't be registered has the ``Violation`` as its result, and so has one that was refused before.
        Raises ``Conflict`` as ``idempotency.respond`` does.
        """
        done = await idempotency.respond(
            self._database,
            account,
            key,
            lambda connection: registration_batches.register(connection, account, batch),
        )
        return Done(registration_batches.results(done.value), done.replayed)

    async def get(self, account: UUID, registration_id: UUID) -> DeviceRegistration | None:
        """Return the registration with its devices, or None."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL.get, account, registration_id)
        return _registration(row) if row else None

    async def newest(
        self, account: UUID, user: UUID, app_name: str | None, first: UUID, limit: int
    ) -> Sequence[DeviceRegistration]:
        """Return up to ``limit`` of a user's registrations from the id ``first`` on, newest first.

        Raises ``Invalid`` for an unknown user. A deleted one has none.
        """
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL.newest, account, user, first, limit, app_name)
            if not rows and not await connection.fetchval(_SQL.user_exists, account, user):
                raise Invalid(USER_UNKNOWN)
        return [_registration(row) for row in rows]

    async def delete(self, account: UUID, registration_id: UUID, device: Device | None = None) -> None:
        """Delete the registration, or one device of it, and with the last device the registration.

        Raises ``NotFound`` where there is no such registration, or no such device in it.
        """

        async def work(connection: Connection) -> None:
            await _delete(connection, account, registration_id, device)

        await transactions.run(self._database, work)


async def _register(connection: Connection, account: UUID, new: NewDevice) -> UUID:
    provider, digest = PROVIDERS[new.device.provider], token_hash(new.device.token)
    claimed = await connection.fetchrow(_SQL.claim_token, account, new.app_name, provider, digest)
    if claimed is None:
        await check_absent(connection, account, {new.app_name})
        raise Invalid(app_unknown(new.app_name))
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
        raise Invalid(USER_UNKNOWN)
    if locked["deleted_at"] is not None:
        raise Invalid(USER_DELETED)
    # A statement of its own: the one that waited for the lock still sees what was before.
    if await connection.fetchval(_SQL.count_devices, account, app, user) >= MAX_DEVICES:
        raise Invalid(TOO_MANY_DEVICES)


async def _delete(connection: Connection, account: UUID, registration_id: UUID, device: Device | None) -> None:
    owner = await connection.fetchval(_SQL.owner, account, registration_id)
    if owner is None:
        raise NotFound("there is no such device registration")
    which = (PROVIDERS[device.provider], token_hash(device.token)) if device else (None, None)
    locked = await connection.fetchval(_SQL.lock_devices, account, registration_id, *which)
    await connection.execute(_SQL.lock_owner, account, owner)
    if not await connection.fetchval(_SQL.lock, account, registration_id):
        raise NotFound("there is no such device registration")
    if device and not locked:
        raise NotFound("the registration has no such device")
    if device and await connection.fetchval(_SQL.count_devices_in, account, registration_id) > 1:
        await connection.execute(_SQL.delete_device, account, registration_id, *which)
        return
    if not await connection.fetchval(_SQL.lock_late_devices, account, registration_id):
        raise transactions.Overtaken
    await connection.execute(_SQL.delete, account, registration_id)


def _registration(row: asyncpg.Record) -> DeviceRegistration:
    devices = [Device(PROVIDER_OF[provider], token) for provider, token in row["devices"]]
    return DeviceRegistration(row["registration_id"], row["app_name"], row["user_id"], devices)
