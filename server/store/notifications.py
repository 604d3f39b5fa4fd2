"""Reading recipients back: their batch says who they are, their row how they ended."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import asyncpg
import msgspec

from server.domain.delivery import DeviceState
from server.domain.notifications import DeliveryError, Notification, NotificationFilter, Place
from server.domain.operations import Message, OperationStatus, Recipient, Status
from server.domain.pushes import Presentation
from server.domain.reasons import Reason
from server.domain.templates import ContentSource
from server.store.database import Database
from server.store.jobs import devices_from, devices_tried
from server.store.numbers import PROVIDER_OF
from server.store.operations import decode_message
from server.store.places import Search
from server.store.statements import Statements

_SQL = Statements("notifications")

_decode_presentation = msgspec.json.Decoder(Presentation).decode


class Notifications:
    """The recipients of all sends."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, account: UUID, operation_id: UUID, index: int) -> Notification | None:
        """Return one recipient's notification; None where there is none, or the recipient is unaddressable."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL.get, account, operation_id, index)
        if row is None or row["status"] == Status.UNADDRESSABLE:
            return None
        return _notification(row, decode_message(row["message"]))

    async def page(
        self, account: UUID, begin: Place, limit: int, wanted: NotificationFilter
    ) -> tuple[list[Notification], Place | None]:
        """Return up to ``limit`` notifications from ``begin`` on, without content, and where the next page begins.

        A page may be shorter with more behind it: what a rare filter costs to meet is bounded.
        """
        async with self._database.snapshot() as connection:
            found = await Search(connection, account, wanted).find(begin, limit + 1)
            places, following = found.places[:limit], found.following
            if len(found.places) > limit:
                following = found.places[limit]
            rows = await connection.fetch(
                _SQL.at_places, account, [place.operation_id for place in places], [place.index for place in places]
            )
        return [_notification(row, _without_content(row)) for row in rows], following

    async def errors(self, account: UUID, operation_id: UUID, first: int, limit: int) -> list[DeliveryError]:
        """Return up to ``limit`` recipients of the operation, from index ``first`` on, that did not get the push."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL.errors, account, operation_id, first, limit)
        return [_error(operation_id, row) for row in rows]


def _without_content(row: asyncpg.Record) -> Message:
    return Message(ContentSource(), _decode_presentation(row["presentation"]))


def _notification(row: asyncpg.Record, message: Message) -> Notification:
    recipient = _recipient(row)
    status = row["status"]
    if status is None:
        waiting = Status.SCHEDULED if row["operation_status"] == OperationStatus.SCHEDULED else Status.QUEUED
    return Notification(
        operation_id=row["operation_id"],
        index=row["index"],
        recipient=recipient,
        message=message,
        tags=msgspec.json.decode(row["tags"]),
        status=waiting if status is None else Status(status),
        reason=Reason(row["reason"] or 0),
        devices=_devices(row, recipient),
        fcm_credential=row["fcm_credential"] or row["named_fcm"],
        apn_credential=row["apn_credential"] or row["named_apn"],
        created_at=row["created_at"],
        updated_at=row["decided_at"] or row["created_at"],
    )


def _error(operation_id: UUID, row: asyncpg.Record) -> DeliveryError:
    recipient = _recipient(row)
    return DeliveryError(
        operation_id,
        row["index"],
        recipient,
        Status(row["status"]),
        Reason(row["reason"]),
        _devices(row, recipient),
        row["decided_at"],
    )


def _recipient(row: asyncpg.Record) -> Recipient:
    variables = row.get("variables")
    return Recipient(row["user_id"], row["token"], PROVIDER_OF.get(row["provider"]), variables)


def _devices(row: asyncpg.Record, recipient: Recipient) -> Sequence[DeviceState]:
    if row["devices"] is None:
        return devices_tried(row.get("progress"), row["index"])
    return devices_from(row["devices"], recipient.token)
