"""One push as a message to APNs.

https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from server.domain.outcomes import Rejected
from server.domain.pushes import Content, Push
from server.domain.reasons import Reason
from server.providers.apns.aps import Alert, aps, kind, own_headers
from server.providers.overrides import merged
from server.providers.transport import Header

LARGEST_PAYLOAD = 4096
PUSH_ID_KEY = "pharosPushId"

_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Message:
    """``push_id`` is the apns-id, which ``own`` holds beside the other headers of this push; ``body`` is the JSON."""

    push_id: str
    path: str
    push_type: str
    priority: str
    own: tuple[Header, ...]
    body: bytes


def payload(push: Push) -> bytes:
    """The JSON payload, all of which counts. Raises ``UnicodeEncodeError`` for half a surrogate pair."""
    found = _payload(push)
    if push.overrides:
        found = merged(msgspec.to_builtins(found), push.overrides) | {PUSH_ID_KEY: str(push.push_id)}
    return _encode(found)


def compose(push: Push) -> Message | Rejected:
    """The message for ``push``, or Apple's certain answer when there can be none."""
    try:
        body = payload(push)
    except UnicodeEncodeError:  # no JSON, no UTF-8
        return Rejected(Reason.PAYLOAD_REJECTED, "InvalidUnicode", called=False)
    if len(body) > LARGEST_PAYLOAD:
        return Rejected(Reason.PAYLOAD_TOO_LARGE, "PayloadTooLarge", called=False)
    push_id, (push_type, priority) = str(push.push_id), kind(push)
    own = (("apns-id", push_id), *own_headers(push, push_type))
    return Message(push_id, "/3/device/" + quote(push.token.lower(), safe=""), push_type, priority, own, body)


def _payload(push: Push) -> dict[str, object]:
    content = push.content
    payload: dict[str, object] = dict(content.data)
    if content.image is not None:
        payload.setdefault("image", content.image)
    payload[PUSH_ID_KEY] = str(push.push_id)
    payload["aps"] = aps(content, push.presentation, _alert(content))
    return payload


def _alert(content: Content) -> Alert | None:
    if content.title is None and content.body is None and content.subtitle is None:
        return None
    return Alert(content.title, content.subtitle, content.body)
