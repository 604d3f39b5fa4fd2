from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from server.domain.outcomes import Rejected
from server.domain.pushes import Content, InterruptionLevel, Presentation, Priority, Push
from server.domain.reasons import Reason
from server.providers.fcm.message import body

NOW = 1_800_000_000
ID = UUID("01920000-0000-7000-8000-000000000001")
PLAIN = Push(ID, "a-token", Content(title="Hi", body="There"), Presentation())


def sent(push: Push) -> Any:
    encoded = body(push, NOW)
    assert isinstance(encoded, bytes)
    return json.loads(encoded)["message"]


def test_plain_message() -> None:
    assert sent(PLAIN) == {
        "token": "a-token",
        "notification": {"title": "Hi", "body": "There"},
        "data": {"pharosPushId": str(ID)},
        "android": {"priority": "HIGH", "notification": {"tag": str(ID)}},
        "apns": {
            "headers": {"apns-push-type": "alert", "apns-priority": "10", "apns-collapse-id": str(ID)},
            "payload": {"aps": {}},
        },
        "webpush": {"headers": {"Urgency": "high"}},
    }


def test_message_with_everything() -> None:
    content = Content(
        title="Hi",
        body="There",
        subtitle="You",
        image="https://example.com/a.png",
        click_action="https://example.com/open",
        data={"order": "42"},
    )
    presentation = Presentation(
        priority=Priority.LOW,
        sound="ping",
        badge=3,
        category="orders",
        thread_id="thread-1",
        collapse_key="order-42",
        icon="bell",
        color="#aabbcc",
        channel_id="orders",
        interruption_level=InterruptionLevel.TIME_SENSITIVE,
        relevance_score=0.5,
    )
    expires_at = dt.datetime.fromtimestamp(NOW + 3600, dt.UTC)
    assert sent(Push(ID, "a-token", content, presentation, expires_at)) == {
        "token": "a-token",
        "notification": {"title": "Hi", "body": "There", "image": "https://example.com/a.png"},
        "data": {"order": "42", "pharosPushId": str(ID)},
        "android": {
            "priority": "NORMAL",
            "ttl": "3600s",
            "collapseKey": "order-42",
            "notification": {
                "icon": "bell",
                "color": "#aabbcc",
                "sound": "ping",
                "tag": "order-42",
                "clickAction": "https://example.com/open",
                "channelId": "orders",
                "notificationCount": 3,
            },
        },
        "apns": {
            "headers": {
                "apns-push-type": "alert",
                "apns-priority": "5",
                "apns-collapse-id": "order-42",
                "apns-expiration": str(NOW + 3600),
            },
            "payload": {
                "aps": {
                    "alert": {"title": "Hi", "subtitle": "You", "body": "There"},
                    "badge": 3,
                    "sound": "ping",
                    "thread-id": "thread-1",
                    "category": "orders",
                    "mutable-content": 1,
                    "interruption-level": "time-sensitive",
                    "relevance-score": 0.5,
                }
            },
        },
        "webpush": {
            "headers": {"Urgency": "normal", "TTL": "3600"},
            "fcmOptions": {"link": "https://example.com/open"},
        },
    }


def test_silent_push_shows_nothing_and_is_background_for_apple() -> None:
    found = sent(replace(PLAIN, content=Content(data={"sync": "1"}), presentation=Presentation(content_available=True)))
    assert "notification" not in found
    assert "notification" not in found["android"]
    assert found["apns"] == {
        "headers": {"apns-push-type": "background", "apns-priority": "5"},
        "payload": {"aps": {"content-available": 1}},
    }


@pytest.mark.parametrize(
    ("seconds", "ttl"), [(59.9, "59s"), (-5, "0s"), (2_419_200, "2419200s"), (9_999_999, "2419200s")]
)
def test_ttl_is_whole_seconds_within_four_weeks(seconds: float, ttl: str) -> None:
    push = replace(PLAIN, expires_at=dt.datetime.fromtimestamp(NOW + seconds, dt.UTC))
    assert sent(push)["android"]["ttl"] == ttl


def test_data_can_not_replace_the_push_id() -> None:
    push = replace(PLAIN, content=Content(body="x", data={"pharosPushId": "forged"}))
    assert sent(push)["data"] == {"pharosPushId": str(ID)}


def test_click_action_that_is_no_https_link_stays_off_the_web() -> None:
    push = replace(PLAIN, content=Content(body="x", click_action="http://example.com"))
    assert "fcmOptions" not in sent(push)["webpush"]


def test_only_data_and_notification_count_towards_the_limit() -> None:
    overhead = len("pharosPushId") + len(str(ID))
    fits = replace(PLAIN, content=Content(body="é" * ((4096 - overhead) // 2)))
    assert sent(fits)["notification"]["body"] == fits.content.body
    too_large = replace(PLAIN, content=Content(body=f"{fits.content.body}é"))
    assert body(too_large, NOW) == Rejected(Reason.PAYLOAD_TOO_LARGE, "MESSAGE_TOO_BIG", called=False)


@pytest.mark.parametrize("content", [Content(title="\ud83d"), Content(body="x", data={"key": "\udc00"})])
def test_half_a_surrogate_pair_is_refused(content: Content) -> None:
    assert body(replace(PLAIN, content=content), NOW) == Rejected(
        Reason.PAYLOAD_REJECTED, "INVALID_UNICODE", called=False
    )
