"""One push as the body of an FCM v1 send, checked against Google's own description of the API in the contract tests.

https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from server.domain.outcomes import Rejected
from server.domain.pushes import Content, Presentation, Priority, Push
from server.domain.reasons import Reason
from server.providers.apns.aps import Alert, Aps, aps, headers

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


class _Message(_Camel):
    token: str
    data: dict[str, str]
    android: _Android
    apns: _Apns
    webpush: _Webpush
    notification: _Notification | None = None


class _Request(_Camel):
    message: _Message


def body(push: Push, now: float) -> bytes | Rejected:
    """The JSON for ``push``, or FCM's certain answer when it takes none such. ``now`` (Unix time) gives the ttl.

    The token may be of an Android, an iOS or a web app; FCM uses the part that fits.
    """
    content, presentation = push.content, push.presentation
    ttl = None if push.expires_at is None else _ttl(push.expires_at.timestamp() - now)
    message = _Message(
        push.token,
        {**content.data, PUSH_ID_KEY: str(push.push_id)},
        _android(push, ttl),
        _apns(push),
        _webpush(content, presentation, ttl),
        _notification(content),
    )
    try:
        encoded = _encode(_Request(message))
    except UnicodeEncodeError:  # half a surrogate pair: no JSON, no UTF-8
        return Rejected(Reason.PAYLOAD_REJECTED, "INVALID_UNICODE", called=False)
    if len(encoded) > LARGEST_PAYLOAD and _size(message) > LARGEST_PAYLOAD:
        return Rejected(Reason.PAYLOAD_TOO_LARGE, "MESSAGE_TOO_BIG", called=False)
    return encoded


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


def _size(message: _Message) -> int:
    """Bytes that FCM counts: the data and the notification, without what is around them."""
    shown = message.notification
    texts = () if shown is None else (shown.title, shown.body, shown.image)
    return _length(message.data) + sum(len(text.encode()) for text in texts if text)


def _length(data: Mapping[str, str]) -> int:
    return sum(len(key.encode()) + len(value.encode()) for key, value in data.items())
