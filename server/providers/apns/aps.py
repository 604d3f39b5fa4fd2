"""Apple's own part of a message, the same for a push to APNs and for one that FCM forwards there.

https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification
"""

from __future__ import annotations

import hashlib
import re

import msgspec

from server.domain.pushes import Content, InterruptionLevel, Presentation, Priority, Push

_COLLAPSE_ID = re.compile(r"[\x21-\x7e]{1,64}")


class Alert(msgspec.Struct, omit_defaults=True):
    title: str | None = None
    subtitle: str | None = None
    body: str | None = None


class Aps(msgspec.Struct, omit_defaults=True, rename="kebab"):
    alert: Alert | None = None
    badge: int | None = None
    sound: str | None = None
    thread_id: str | None = None
    category: str | None = None
    content_available: int = 0
    mutable_content: int = 0
    interruption_level: InterruptionLevel | None = None
    relevance_score: float | None = None


def aps(content: Content, presentation: Presentation, alert: Alert | None) -> Aps:
    """The ``aps`` dictionary. An image makes the content mutable: the app's extension has to fetch it."""
    return Aps(
        alert,
        presentation.badge,
        presentation.sound,
        presentation.thread_id,
        presentation.category or content.click_action,
        int(presentation.content_available),
        int(presentation.mutable_content or content.image is not None),
        presentation.interruption_level,
        presentation.relevance_score,
    )


def is_background(content: Content, presentation: Presentation) -> bool:
    """Whether the push only wakes the app. Apple drops background pushes that show, sound or badge anything."""
    return (
        presentation.content_available
        and content.title is None
        and content.body is None
        and content.subtitle is None
        and presentation.badge is None
        and presentation.sound is None
    )


def headers(push: Push) -> dict[str, str]:
    """The ``apns-*`` headers that depend on the push alone, as FCM forwards them."""
    push_type, priority = kind(push)
    return {"apns-push-type": push_type, "apns-priority": priority, **dict(own_headers(push, push_type))}


def kind(push: Push) -> tuple[str, str]:
    """Apple's push type and priority. Priority 10 is at once, 5 when it suits the device's battery.

    Apple refuses 10 for a background push.
    """
    if is_background(push.content, push.presentation):
        return "background", "5"
    return "alert", "10" if push.presentation.priority is Priority.HIGH else "5"


def own_headers(push: Push, push_type: str) -> tuple[tuple[str, str], ...]:
    """The headers that no other push has.

    Without a collapse key the collapse id is the push's own, so that a push sent twice is shown once.
    """
    key = push.presentation.collapse_key
    found: tuple[tuple[str, str], ...] = ()
    if key is not None:
        found = (("apns-collapse-id", _collapse_id(key)),)
    elif push_type != "background":
        found = (("apns-collapse-id", str(push.push_id)),)
    if push.expires_at is None:
        return found
    return (*found, ("apns-expiration", str(int(push.expires_at.timestamp()))))


def _collapse_id(key: str) -> str:
    """At most 64 bytes of visible ASCII, so any other key goes by its hash."""
    return key if _COLLAPSE_ID.fullmatch(key) else hashlib.sha256(key.encode()).hexdigest()
