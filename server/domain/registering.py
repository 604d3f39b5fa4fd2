"""Registering a batch of devices, worked out before anything is written: what doing one after the other comes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from server.domain.devices import (
    MAX_DEVICES,
    TOO_MANY_DEVICES,
    USER_DELETED,
    USER_UNKNOWN,
    Device,
    NewDevice,
    app_unknown,
)
from server.domain.errors import Invalid


class Slot(NamedTuple):
    """A device under an app: one user has it there, or none."""

    app_id: UUID
    device: Device


class UserSet(NamedTuple):
    """A user's devices under an app."""

    user_id: UUID
    app_id: UUID


@dataclass(frozen=True, slots=True)
class Before:
    """What is there, and held, before the batch.

    ``apps`` by name, None for the default one; ``users`` with whether they are deleted.
    """

    apps: Mapping[str | None, UUID]
    holders: Mapping[Slot, UUID]
    users: Mapping[UUID, bool]
    registrations: Mapping[UserSet, UUID]
    devices: Mapping[UserSet, int]


@dataclass(slots=True)
class Changes:
    """What is to be written. ``given`` are the devices that are new or move, in the order of the last request each."""

    users: list[UUID] = field(default_factory=list)
    registrations: dict[UserSet, UUID] = field(default_factory=dict)
    given: dict[Slot, UserSet] = field(default_factory=dict)
    refreshed: set[Slot] = field(default_factory=set)
    touched: set[UserSet] = field(default_factory=set)


class Batch:
    """Registers devices on paper. ``new_ids`` gives the ids of users and registrations to make."""

    def __init__(self, before: Before, new_ids: Iterator[UUID]) -> None:
        self._before = before
        self._new_ids = new_ids
        self._holders = dict(before.holders)
        self._registrations = dict(before.registrations)
        self._devices = Counter(before.devices)
        self.changes = Changes()

    def register(self, new: NewDevice) -> UUID:
        """Return the registration that the device is in then. Raises ``Invalid``, and nothing is changed."""
        app = self._before.apps.get(new.app_name)
        if app is None:
            raise Invalid(app_unknown(new.app_name))
        slot = Slot(app, new.device)
        holder = self._holders.get(slot)
        if holder is not None and holder == new.user_id:
            self.changes.refreshed.add(slot)
            return self._registrations[UserSet(holder, app)]
        owner = UserSet(self._new_user() if new.user_id is None else self._admit(new.user_id, app), app)
        if holder is not None:
            self._take(UserSet(holder, app))
        return self._give(slot, owner)

    def registration(self, owner: UserSet) -> UUID:
        """Return the id of a registration, also of one yet to be made."""
        return self._registrations[owner]

    def was_there(self, slot: Slot) -> bool:
        """Return whether somebody had the device before the batch."""
        return slot in self._before.holders

    def _new_user(self) -> UUID:
        made = next(self._new_ids)
        self.changes.users.append(made)
        return made

    def _admit(self, user: UUID, app: UUID) -> UUID:
        deleted = self._before.users.get(user)
        if deleted is None:
            raise Invalid(USER_UNKNOWN)
        if deleted:
            raise Invalid(USER_DELETED)
        if self._devices[UserSet(user, app)] >= MAX_DEVICES:
            raise Invalid(TOO_MANY_DEVICES)
        return user

    def _take(self, owner: UserSet) -> None:
        self._devices[owner] -= 1
        self.changes.touched.add(owner)

    def _give(self, slot: Slot, owner: UserSet) -> UUID:
        self._holders[slot] = owner.user_id
        self._devices[owner] += 1
        self.changes.given.pop(slot, None)  # so that the last one is last
        self.changes.given[slot] = owner
        self.changes.touched.add(owner)
        if owner not in self._registrations:
            self._registrations[owner] = self.changes.registrations[owner] = next(self._new_ids)
        return self._registrations[owner]
