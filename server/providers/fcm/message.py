"""One push as the body of an FCM v1 send, checked against Google's own description of the API in the contract tests.

https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

import msgspec

from server.domain.outcomes import Rejected
from server.domain.pushes import Content, Presentation, Priority, Push
from server.domain.reasons import Reason
from server.providers.apns.aps import Alert, Aps, aps, headers
from server.providers.fcm.forms import Form, Forms
from server.providers.overrides import merged

LARGEST_PAYLOAD = 4096
LONGEST_TTL = 2_419_200  # seconds: four weeks
PUSH_ID_KEY = "pharosPushId"

_encode = msgspec.json.Encoder().encode

# Marks are random, so that they are nowhere else in a message.
_ID_MARK = uuid4()
_TOKEN_MARK, _TTL_MARK, _EXPIRY_MARK = (uuid4().hex for _ in range(3))
_MARKS = Content(uuid4().hex, uuid4().hex, uuid4().hex, uuid4().hex, uuid4().hex)
_LINK_MARKS = replace(_MARKS, click_action=f"https://{uuid4().hex}")


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
    filled = _filled(push, now)
    if filled is not None and len(filled) <= LARGEST_PAYLOAD:
        return filled
    try:
        message, encoded = compose(push, now)
    except UnicodeEncodeError:  # no JSON, no UTF-8
        return Rejected(Reason.PAYLOAD_REJECTED, "INVALID_UNICODE", called=False)
    if len(encoded) > LARGEST_PAYLOAD and counted_bytes(message) > LARGEST_PAYLOAD:
        return Rejected(Reason.PAYLOAD_TOO_LARGE, "MESSAGE_TOO_BIG", called=False)
    return encoded


def compose(push: Push, now: float) -> tuple[Mapping[str, Any] | Message, bytes]:
    """The message, and the request body with it. Raises ``UnicodeEncodeError`` for half a surrogate pair."""
    return _finished(_message(push, now), push)


def _finished(message: Message, push: Push) -> tuple[Mapping[str, Any] | Message, bytes]:
    if not push.overrides:
        return message, _encode({"message": message})
    overridden = merged(msgspec.to_builtins(message), push.overrides)
    overridden["token"] = push.token
    overridden["data"] = {**overridden.get("data", {}), PUSH_ID_KEY: str(push.push_id)}
    return overridden, _encode({"message": overridden})


def _filled(push: Push, now: float) -> bytes | None:
    """The request body by the form of its send; None where there is no form, or something that fits in none."""
    if "data" in push.overrides:  # which changes the push's own data
        return None
    try:
        form = _forms.form_of(push, _shape(push))
        return None if form is None else form.filled(_own(push, now))
    except UnicodeEncodeError:
        return None


def _own(push: Push, now: float) -> list[bytes]:
    """What differs between the messages of one send, as it stands in their JSON."""
    content, push_id, ttl, expiry = push.content, str(push.push_id), b"", b""
    if push.expires_at is not None:
        expires = push.expires_at.timestamp()
        ttl, expiry = b"%d" % _ttl(expires - now), b"%d" % int(expires)
    return [
        _encode({**content.data, PUSH_ID_KEY: push_id}),
        push_id.encode(),
        _encode(push.token),
        _encode(content.title),
        _encode(content.body),
        _encode(content.subtitle),
        _encode(content.image),
        _encode(content.click_action),
        ttl,
        expiry,
    ]


def _shape(push: Push) -> Hashable:
    """What decides, within one send, which parts a message has."""
    content = push.content
    return (
        content.title is None,
        content.body is None,
        content.subtitle is None,
        content.image is None,
        content.click_action is None,
        _is_link(content),
        push.expires_at is None,
    )


def _form(push: Push) -> Form:
    """The form of the messages of this push's shape, made of one that has marks for values of its own."""
    marks = _LINK_MARKS if _is_link(push.content) else _MARKS
    marked = replace(push, push_id=_ID_MARK, token=_TOKEN_MARK, content=_like(push.content, marks))
    message = _message(marked, 0)
    if push.expires_at is not None:
        message.android.ttl = f"{_TTL_MARK}s"
        message.webpush.headers["TTL"] = _TTL_MARK
        message.apns.headers["apns-expiration"] = _EXPIRY_MARK
    *own, _, _ = _own(replace(marked, content=marks), 0)
    return Form(_finished(message, marked)[1], [*own, _TTL_MARK.encode(), _EXPIRY_MARK.encode()])


def _like(content: Content, marks: Content) -> Content:
    """The marks in place of the texts that there are."""
    return Content(
        None if content.title is None else marks.title,
        None if content.body is None else marks.body,
        None if content.subtitle is None else marks.subtitle,
        None if content.image is None else marks.image,
        None if content.click_action is None else marks.click_action,
    )


_forms = Forms(_form)


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
    return _Webpush(found, _WebpushOptions(link) if link and _is_link(content) else None)


def _is_link(content: Content) -> bool:
    return content.click_action is not None and content.click_action.startswith("https://")


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
