"""What is left of a send request to look into when some of it breaks the contract's rules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from pharos.push.v1 import push_notifications_pb2, types_pb2

from server.domain.errors import Violation

_Request = push_notifications_pb2.SendPushNotificationRequest
_RECIPIENT: Final = re.compile(r"to\[(\d+)\]")
_ANYBODY: Final = types_pb2.Recipient(user_id=f"comms_pushnotificationuser_{'0' * 26}")


def sound_part(request: _Request, rules: Sequence[Violation]) -> _Request:
    """Return the request without the fields that break ``rules``.

    A recipient that breaks one is replaced by one that nothing is wrong with, so that the others keep their places.
    """
    if not rules:
        return request
    sound = _Request()
    sound.CopyFrom(request)
    for violation in rules:
        recipient = _RECIPIENT.match(violation.field)
        if recipient is None:
            _clear(sound, violation.field)
        elif int(recipient[1]) < len(sound.to):  # not cleared for being too many
            sound.to[int(recipient[1])].CopyFrom(_ANYBODY)
    return sound


def _clear(sound: _Request, path: str) -> None:
    """Of content the text, of anything else the whole field."""
    name, _, text = path.partition("[")[0].partition(".")
    if name == "content" and text:
        sound.content.ClearField(text)  # type: ignore[arg-type]  # a path of the contract
    else:
        sound.ClearField(name)  # type: ignore[arg-type]  # a path of the contract
