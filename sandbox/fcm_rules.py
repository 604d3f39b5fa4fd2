"""What FCM demands of a message beyond its shape: one target, reserved keys, ranges, sizes.

From the reference of projects.messages and Google's machine-readable description, revision 20261023.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from sandbox.fcm_message import Violation

MAX_PAYLOAD = 4096
MAX_TOPIC_PAYLOAD = 2048
MAX_TTL_SECONDS = 2_419_200
_MAX_TOPICS = 5
_MAX_COLLAPSE_ID = 64
_RESERVED_KEY = re.compile(r"(from|message_type)\Z|google\.|gcm\.notification\.")
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
_ANALYTICS_LABEL = re.compile(r"[a-zA-Z0-9\-_.~%]{1,50}")
_TOPIC = re.compile(r"[a-zA-Z0-9\-_.~%]{1,900}")
_TARGETS = ("token", "fid", "topic", "condition")
_APNS_PRIORITIES = ("1", "5", "10")


def first_violation(message: Any, body_size: int) -> Violation | None:
    """What FCM would complain of, or None. ``message`` as decoded; ``body_size`` in bytes of JSON."""
    for violation in _violations(message):
        return violation
    if body_size > MAX_TOPIC_PAYLOAD:  # the JSON is never shorter than what it holds
        return _oversize(message)
    return None


def target(message: Any) -> str:
    """The device token or FID; ``/topics/name`` or the condition for the others."""
    if message.topic is not None:
        return f"/topics/{message.topic}"
    return str(message.token or message.fid or message.condition)


def _violations(message: Any) -> Iterator[Violation]:
    yield from _target_violations(message)
    if message.data:
        yield from _data_violations(message.data, "message.data")
    if message.fcmOptions is not None:
        yield from _label_violations(message.fcmOptions, "message.fcm_options")
    if message.android is not None or message.androidV2 is not None:
        yield from _android_violations(message)
    if message.apns is not None:
        yield from _apns_violations(message)
    if message.webpush is not None:
        yield from _webpush_violations(message.webpush)


def _target_violations(message: Any) -> Iterator[Violation]:
    given = [name for name in _TARGETS if getattr(message, name) is not None]
    if not given or (len(given) == 1 and not getattr(message, given[0])):
        yield Violation("message.token", "Recipient of the message is not set.")
    elif len(given) > 1:
        text = f"Invalid value at 'message' (oneof), oneof field 'target' is already set. Cannot set '{given[1]}'"
        yield Violation("message", text)
    elif message.topic is not None and not _TOPIC.fullmatch(message.topic):
        yield Violation("message.topic", "Malformed topic name")
    elif message.condition is not None:
        yield from _condition_violations(message.condition)


def _condition_violations(condition: str) -> Iterator[Violation]:
    balanced = condition.count("(") == condition.count(")") and condition.count("'") % 2 == 0
    if not balanced or "' in topics" not in condition:
        yield Violation("message.condition", "Invalid condition expression provided.")
    elif condition.count("' in topics") > _MAX_TOPICS:
        yield Violation("message.condition", f"A condition takes at most {_MAX_TOPICS} topics.")


def _data_violations(data: dict[str, str], path: str) -> Iterator[Violation]:
    for index, key in enumerate(data):
        if _RESERVED_KEY.match(key):
            yield Violation(f"{path}[{index}].key", f"Invalid data payload key: {key}")


def _label_violations(options: Any, path: str) -> Iterator[Violation]:
    label = options.analyticsLabel
    if label is not None and not _ANALYTICS_LABEL.fullmatch(label):
        yield Violation(f"{path}.analytics_label", "Invalid analytics label")


def _android_violations(message: Any) -> Iterator[Violation]:
    if message.android is not None and message.androidV2 is not None:
        yield Violation("message.android_v2", "android and android_v2 are mutually exclusive.")
    path = "message.android" if message.android is not None else "message.android_v2"
    config = message.android or message.androidV2
    if config.ttl is not None and not 0 <= float(config.ttl[:-1]) <= MAX_TTL_SECONDS:
        yield Violation(f"{path}.ttl", f"Invalid ttl: it must be between 0 and {MAX_TTL_SECONDS} seconds")
    if config.data:
        yield from _data_violations(config.data, f"{path}.data")
    if config.fcmOptions is not None:
        yield from _label_violations(config.fcmOptions, f"{path}.fcm_options")
    color = getattr(getattr(config, "notification", None), "color", None)
    if color is not None and not _COLOR.fullmatch(color):
        yield Violation(f"{path}.notification.color", "Invalid color: it must be of the form #RRGGBB")


def _apns_violations(message: Any) -> Iterator[Violation]:
    apns = message.apns
    headers = {name.lower(): value for name, value in (apns.headers or {}).items()}
    priority = headers.get("apns-priority")
    if priority is not None and priority not in _APNS_PRIORITIES:
        yield Violation("message.apns.headers", "Invalid apns-priority")
    if priority == "10" and _is_data_only(message):
        yield Violation("message.apns.headers", "apns-priority of a data-only message must be 5")
    if not headers.get("apns-expiration", "0").isdigit():
        yield Violation("message.apns.headers", "Invalid apns-expiration")
    if len(headers.get("apns-collapse-id", "").encode()) > _MAX_COLLAPSE_ID:
        yield Violation("message.apns.headers", "Invalid apns-collapse-id")
    if apns.fcmOptions is not None:
        yield from _label_violations(apns.fcmOptions, "message.apns.fcm_options")


def _is_data_only(message: Any) -> bool:
    """Whether nothing in it shows on an iOS device: no notification, and no alert, badge or sound."""
    aps = (message.apns.payload or {}).get("aps", {})
    visible = isinstance(aps, dict) and any(key in aps for key in ("alert", "badge", "sound"))
    return message.notification is None and not visible


def _webpush_violations(webpush: Any) -> Iterator[Violation]:
    link = webpush.fcmOptions.link if webpush.fcmOptions is not None else None
    if link is not None and not link.startswith("https://"):
        yield Violation("message.webpush.fcm_options.link", "Invalid link: only https URLs are supported")
    if webpush.data:
        yield from _data_violations(webpush.data, "message.webpush.data")


def _oversize(message: Any) -> Violation | None:
    """FCM counts what reaches the device: data and notification of the platform, or the APNs payload."""
    limit = MAX_TOPIC_PAYLOAD if message.topic or message.condition else MAX_PAYLOAD
    android = message.android
    data = {**(message.data or {}), **((android.data if android is not None else None) or {})}
    shown = _texts(message.notification) | _texts(android.notification if android is not None else None)
    if _size(data) + _size(shown) > limit:
        return Violation("", "Android message is too big")
    apns = message.apns
    payload = len(msgspec.json.encode(apns.payload)) if apns is not None and apns.payload else 0
    if payload > limit:
        return Violation("", "APNs payload is too big")
    return None


def _texts(notification: Any) -> dict[str, str]:
    if notification is None:
        return {}
    values = {name: getattr(notification, name) for name in notification.__struct_fields__}
    return {name: value for name, value in values.items() if isinstance(value, str)}


def _size(texts: dict[str, str]) -> int:
    return sum(len(key.encode()) + len(value.encode()) for key, value in texts.items())
