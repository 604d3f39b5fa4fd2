"""Broken rules and what can't be carried out are told together, each thing once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from pharos.push.v1 import push_notifications_pb2 as pb
from pharos.push.v1 import types_pb2

from server.api import push_notifications
from server.api.calls import Call, current_call
from server.domain.credentials import CredentialType
from server.domain.errors import Invalid
from server.domain.operations import SenderCredential
from server.rendering.renderer import Renderer

_USER = types_pb2.Recipient(user_id="comms_user_01m815cb4hev1ssrsmmsa7gj7q")
_CREDENTIAL = "comms_credential_01m815cb4hev1ssrsmmsa7gj7q"
_APN = types_pb2.Recipient(token="c0ffee", provider=types_pb2.PROVIDER_APN)
_NO_TOKEN = types_pb2.Recipient(token="", provider=types_pb2.PROVIDER_FCM)
_NOT_HEX = types_pb2.Recipient(token="xyz", provider=types_pb2.PROVIDER_APN)
_UNPARSABLE = "{{ name"


class _OneApp:
    """An app with an FCM credential. Nothing can be accepted: what the tests send must never come so far."""

    async def app(self, account: UUID, name: str | None) -> tuple[UUID, str] | None:  # noqa: ARG002 - the store's
        return (UUID(int=1), "default") if name in {None, "default"} else None

    async def sender_credentials(
        self,
        account: UUID,  # noqa: ARG002 - the store's
        named: Sequence[UUID],  # noqa: ARG002 - the store's
        app: UUID | None,  # noqa: ARG002 - the store's
    ) -> list[SenderCredential]:
        return [SenderCredential(UUID(int=2), UUID(int=1), "default", CredentialType.FCM)]


async def _problems(**fields: Any) -> dict[str, str]:
    request = pb.SendPushNotificationRequest(**{"to": [_USER], "content": {"body": "Hello"}, **fields})
    servicer: Any = push_notifications.PushNotificationServicer(_OneApp(), None, Renderer(), None, None)  # type: ignore[arg-type]  # see _OneApp
    current_call.set(Call("/pharos.push.v1.PushNotificationService/SendPushNotification", "r", UUID(int=7)))
    with pytest.raises(Invalid) as caught:
        await servicer.SendPushNotification(request, None)
    fields_ = [violation.field for violation in caught.value.violations]
    assert len(fields_) == len(set(fields_)), "each field once"
    return {violation.field: violation.message for violation in caught.value.violations}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"to": [_NO_TOKEN], "content": {"body": _UNPARSABLE}}, {"to[0].token", "content.body"}),
        ({"badge": -1, "to": [_USER, _NOT_HEX]}, {"badge", "to[1].token"}),
        ({"badge": -1, "to": [_NO_TOKEN, _APN]}, {"badge", "to[0].token", "to[1].provider"}),
        ({"badge": -1, "sender": {"app_name": "unknown"}}, {"badge", "sender.app_name"}),
        ({"badge": -1, "sender": {"fcm": _CREDENTIAL, "apn": _CREDENTIAL}}, {"badge", "sender.fcm", "sender.apn"}),
        ({"to": [], "content": {"title": _UNPARSABLE, "body": ""}}, {"to", "content.title", "content.body"}),
        ({"tags": {"a b": "c"}, "data": {"aps": "1", "x": _UNPARSABLE}}, {'tags["a b"]', 'data["aps"]', 'data["x"]'}),
        ({"request_id": "\u00e9", "image": "http://x"}, {"request_id", "image"}),
    ],
)
async def test_both_kinds_come_together(fields: dict[str, Any], expected: set[str]) -> None:
    assert set(await _problems(**fields)) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"content": {"body": _UNPARSABLE * 5000}}, {"content.body"}),
        ({"content": {"body": "a\0" + _UNPARSABLE}}, {"content.body"}),
        ({"to": [types_pb2.Recipient(token="x" * 5000, provider=types_pb2.PROVIDER_APN)]}, {"to[0].token"}),
        ({"to": [_USER] * 10_000 + [_NOT_HEX]}, {"to"}),
        ({"to": [_USER] * 10_000 + [_NO_TOKEN]}, {"to[10000].token", "to"}),
        ({"sender": {"fcm": "x", "app_name": "unknown"}, "to": [_APN]}, {"sender.fcm"}),
        ({"data": {f"k{n}": _UNPARSABLE for n in range(101)}}, {"data"}),
    ],
)
async def test_of_what_breaks_a_rule_nothing_more_is_said(fields: dict[str, Any], expected: set[str]) -> None:
    assert set(await _problems(**fields)) == expected


async def test_50_broken_rules_are_enough() -> None:
    found = await _problems(to=[_NO_TOKEN] * 60, content={"body": _UNPARSABLE})
    assert list(found) == [f"to[{index}].token" for index in range(50)]
