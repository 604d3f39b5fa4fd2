"""Many devices at once: what is there is locked and read, the changes are worked out, then written, set by set."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TypeAlias
from uuid import UUID

import msgspec

from server.domain.devices import NewDevice, Registered
from server.domain.errors import Invalid, Violation
from server.domain.registering import Batch, Before, Slot, UserSet
from server.store import transactions
from server.store.apps import check_absent
from server.store.database import Connection
from server.store.numbers import PROVIDERS
from server.store.statements import Statements
from server.store.tokens import token_hash

_SQL = Statements("registration_batches")

_Key: TypeAlias = tuple[UUID, int, bytes]
"""A device in the table: app, provider and hash of the token."""


class _Result(msgspec.Struct, array_like=True):
    registration_id: UUID | None = None
    field: str = ""
    message: str = ""


async def register(connection: Connection, account: UUID, devices: Sequence[NewDevice | Violation]) -> bytes:
    """Register the devices in the caller's transaction and return the results, one each, as ``results`` reads them.

    Raises ``Overtaken``.
    """
    wanted = [new for new in devices if isinstance(new, NewDevice)]
    batch = Batch(await _lock(connection, account, wanted), iter(await _new_ids(connection, wanted)))
    registered = [_register(batch, new) for new in devices]
    await _write(connection, account, batch)
    return msgspec.msgpack.encode([_result(each) for each in registered])


def results(response: bytes) -> Sequence[Registered]:
    """Return the results in a response that ``register`` made."""
    found = msgspec.msgpack.decode(response, type=list[_Result])
    return [each.registration_id or Violation(each.field, each.message) for each in found]


def _register(batch: Batch, new: NewDevice | Violation) -> Registered:
    if isinstance(new, Violation):
        return new
    try:
        return batch.register(new)
    except Invalid as error:
        return error.violations[0]


def _result(registered: Registered) -> _Result:
    if isinstance(registered, UUID):
        return _Result(registered)
    return _Result(None, registered.field, registered.message)


async def _new_ids(connection: Connection, wanted: Sequence[NewDevice]) -> list[UUID]:
    """A user and a registration for each device would be the most."""
    most = len(wanted) + sum(new.user_id is None for new in wanted)
    return [row[0] for row in await connection.fetch(_SQL.new_ids, most)]


async def _lock(connection: Connection, account: UUID, wanted: Sequence[NewDevice]) -> Before:
    apps = await _lock_apps(connection, account, {new.app_name for new in wanted})
    slots = {Slot(apps[new.app_name], new.device) for new in wanted if new.app_name in apps}
    holders = await _lock_devices(connection, account, slots)
    people = {new.user_id for new in wanted if new.user_id} | set(holders.values())
    users = await connection.fetch(_SQL.lock_users, account, people)
    where = (account, people, set(apps.values()))
    registrations = await connection.fetch(_SQL.lock_registrations, *where)
    # A statement of its own, like the one before: those that waited for the users still see what was before.
    counts = await connection.fetch(_SQL.count_devices, *where)
    return Before(
        apps,
        holders,
        {row["user_id"]: row["deleted"] for row in users},
        {UserSet(row["user_id"], row["app_id"]): row["registration_id"] for row in registrations},
        {UserSet(row["user_id"], row["app_id"]): row["devices"] for row in counts},
    )


async def _lock_apps(connection: Connection, account: UUID, names: Collection[str | None]) -> dict[str | None, UUID]:
    named = [name for name in names if name]
    apps: dict[str | None, UUID] = {}
    for row in await connection.fetch(_SQL.lock_apps, account, named, None in names):
        apps[row["name"]] = row["app_id"]
        if row["is_default"]:
            apps[None] = row["app_id"]
    missing = set(names) - set(apps)
    if missing:
        await check_absent(connection, account, missing)
    return apps


async def _lock_devices(connection: Connection, account: UUID, slots: Collection[Slot]) -> dict[Slot, UUID]:
    by_key = {_key(slot): slot for slot in slots}
    rows = await connection.fetch(_SQL.lock_devices, account, *_columns(by_key, 3))
    return {by_key[row["app_id"], row["provider"], row["token_hash"]]: row["user_id"] for row in rows}


async def _write(connection: Connection, account: UUID, batch: Batch) -> None:
    changes = batch.changes
    await connection.execute(_SQL.insert_users, account, changes.users)
    made = [(registration, *owner) for owner, registration in changes.registrations.items()]
    await connection.execute(_SQL.insert_registrations, account, *_columns(made, 3))
    await _write_devices(connection, account, batch)
    touched = [batch.registration(owner) for owner in changes.touched]
    await connection.execute(_SQL.touch, account, {owner.user_id for owner in changes.touched}, touched)
    await connection.execute(_SQL.delete_empty, account, touched)


async def _write_devices(connection: Connection, account: UUID, batch: Batch) -> None:
    changes = batch.changes
    placed = [(slot, batch.registration(owner), owner.user_id) for slot, owner in changes.given.items()]
    fresh = [(*_key(slot), slot.device.token, *place) for slot, *place in placed if not batch.was_there(slot)]
    moved = [(account, *_key(slot), *place) for slot, *place in placed if batch.was_there(slot)]
    known = [_key(slot) for slot in changes.refreshed - changes.given.keys()]
    if await connection.fetchval(_SQL.insert_devices, account, *_columns(fresh, 6)) != len(fresh):
        raise transactions.Overtaken  # somebody else registered one since we looked for it
    await connection.executemany(_SQL.move_device, moved)
    await connection.execute(_SQL.refresh_devices, account, *_columns(known, 3))


def _key(slot: Slot) -> _Key:
    return slot.app_id, PROVIDERS[slot.device.provider], token_hash(slot.device.token)


def _columns(rows: Iterable[tuple[object, ...]], count: int) -> list[list[object]]:
    """The rows as ``count`` arrays, for unnest."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(count)]
