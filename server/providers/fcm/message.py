"""One push as the body of an FCM v1 send, checked against Google's own description of the API in the contract tests.

https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from server.domain.outcomes import Rejected
from server.domain.pushes import Content, Presentation, Priority, Push
from server.domain.reasons import Reason
from server.providers.apns.aps import Alert, Aps, aps, headers
from server.providers.overrides import merged

LARGEST_PAYLOAD = 4096
LONGEST_TTL = 2_419_200  # seconds: four weeks
PUSH_ID_KEY = "pharosPushId"

_encode = msgspec.json.Encoder().encode


class _Camel(msgspec.Struct, omit_defaults=True, rename="camel"):
    """The base of all message parts: what is None is left out."""


class _Notification(_Camel):
    title: str | None = None
    body: str | None = None
    image: str | None = None


class _AndroidNotification(_Camel):
    icon: str | None = None
    color: str | None = None
    sound: str | None = None
    tag: str | None = None
    click_action: str | None = None
    channel_id: str | None = None
    notification_count: int | None = None


class _Android(_Camel):
    priority: str
    ttl: str | None = None
    collapse_key: str | None = None
    notification: _AndroidNotification | None = None


class _ApnsPayload(_Camel):
    aps: Aps


class _Apns(_Camel):
    headers: dict[str, str]
    payload: _ApnsPayload


class _WebpushOptions(_Camel):
    link: str


class _Webpush(_Camel):
    headers: dict[str, str]
    fcm_options: _WebpushOptions | None = None


class Message(_Camel):
    token: str
    data: dict[str, str]
    android: _Android
    apns: _Apns
    webpush: _Webpush
    notification: _Notification | None = None


def body(push: Push, now: float) -> bytes | Rejected:
    """The JSON for ``push``, or FCM's certain answer when it takes none such. ``now`` (Unix time) gives the ttl.

    The token may be of an Android, an iOS or a web app; FCM uses the part that fits.
    """
    try:
        message, encoded = compose(push, now)
    except UnicodeEncodeError:  # no JSON, no UTF-8
        return Rejected(Reason.PAYLOAD_REJECTED, "INVALID_UNICODE", called=False)
    if len(encoded) > LARGEST_PAYLOAD and counted_bytes(message) > LARGEST_PAYLOAD:
        return Rejected(Reason.PAYLOAD_TOO_LARGE, "MESSAGE_TOO_BIG", called=False)
    return encoded


def compose(push: Push, now: float) -> tuple[Mapping[str, Any] | Message, bytes]:
    """The message, and the request body with it. Raises ``UnicodeEncodeError`` for half a surrogate pair."""
    message = _message(push, now)
    if not push.overrides:
        return message, _encode({"message": message})
    overridden = merged(msgspec.to_builtins(message), push.overrides)
    overridden["token"] = push.token
    overridden["data"] = {**overridden.get("data", {}), PUSH_ID_KEY: str(push.push_id)}
    return overridden, _encode({"message": overridden})


def _message(push: Push, now: float) -> Message:
    content, presentation = push.content, push.presentation
    ttl = None if push.expires_at is None else _ttl(push.expires_at.timestamp() - now)
    return Message(
        push.token,
        {**content.data, PUSH_ID_KEY: str(push.push_id)},
        _android(push, ttl),
        _apns(push),
        _webpush(content, presentation, ttl),
        _notification(content),
    )


def _ttl(seconds: float) -> int:
    return min(max(int(seconds), 0), LONGEST_TTL)


def _is_shown(content: Content) -> bool:
    return content.title is not None or content.body is not None or content.image is not None


def _notification(content: Content) -> _Notification | None:
    return _Notification(content.title, content.body, content.image) if _is_shown(content) else None


def _android(push: Push, ttl: int | None) -> _Android:
    presentation = push.presentation
    return _Android(
        "HIGH" if presentation.priority is Priority.HIGH else "NORMAL",
        None if ttl is None else f"{ttl}s",
        presentation.collapse_key,
        _android_notification(push) if _is_shown(push.content) else None,
    )


def _android_notification(push: Push) -> _AndroidNotification:
    presentation = push.presentation
    return _AndroidNotification(
        presentation.icon,
        presentation.color,
        presentation.sound,
        # A tag replaces what is shown under the same one: with the push's own id, a push sent twice is shown once.
        presentation.collapse_key or str(push.push_id),
        push.content.click_action,
        presentation.channel_id,
        presentation.badge,
    )


def _apns(push: Push) -> _Apns:
    content = push.content
    # FCM makes the alert of the notification itself, but knows no subtitle.
    alert = None if content.subtitle is None else Alert(content.title, content.subtitle, content.body)
    return _Apns(headers(push), _ApnsPayload(aps(content, push.presentation, alert)))


def _webpush(content: Content, presentation: Presentation, ttl: int | None) -> _Webpush:
    """Urgency and TTL of RFC 8030; FCM takes https links only."""
    found = {"Urgency": "high" if presentation.priority is Priority.HIGH else "normal"}
    if ttl is not None:
        found["TTL"] = str(ttl)
    link = content.click_action
    return _Webpush(found, _WebpushOptions(link) if link and link.startswith("https://") else None)


def counted_bytes(message: Mapping[str, Any] | Message) -> int:
    """Bytes that FCM counts: the data and the notification, without what is around them."""
    document = msgspec.to_builtins(message) if isinstance(message, Message) else message
    data, shown = _texts(document.get("data")), _texts(document.get("notification"))
    keys = sum(len(key.encode()) for key in data)
    return keys + sum(len(text.encode()) for text in (*data.values(), *shown.values()))


def _texts(value: object) -> dict[str, str]:
    """The texts of an object; overrides can put anything in its place."""
    if not isinstance(value, Mapping):
        return {}
    return {key: text for key, text in value.items() if isinstance(text, str)}
