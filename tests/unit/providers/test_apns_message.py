from __future__ import annotations

import datetime as dt
import json
import re
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from server.domain.outcomes import Rejected
from server.domain.pushes import Content, InterruptionLevel, Presentation, Priority, Push
from server.domain.reasons import Reason
from server.providers.apns.message import Message, compose

ID = UUID("01920000-0000-7000-8000-000000000001")
PLAIN = Push(ID, "F00D", Content(title="Hi", body="There"), Presentation())


def made(push: Push) -> Message:
    found = compose(push)
    assert isinstance(found, Message)
    return found


def kind_of(push: Push) -> tuple[str, str]:
    return made(push).push_type, made(push).priority


def payload(push: Push) -> Any:
    return json.loads(made(push).body)


def test_plain_request() -> None:
    found = made(PLAIN)
    assert found.path == "/3/device/f00d"
    assert (found.push_id, found.push_type, found.priority) == (str(ID), "alert", "10")
    assert found.own == (("apns-id", str(ID)), ("apns-collapse-id", str(ID)))
    assert json.loads(found.body) == {"aps": {"alert": {"title": "Hi", "body": "There"}}, "pharosPushId": str(ID)}


def test_request_with_everything() -> None:
    content = Content(
        title="Hi",
        body="There",
        subtitle="You",
        image="https://example.com/a.png",
        click_action="OPEN",
        data={"order": "42", "aps": "forged", "pharosPushId": "forged"},
    )
    presentation = Presentation(
        priority=Priority.LOW,
        sound="ping.caf",
        badge=0,
        thread_id="thread-1",
        collapse_key="order-42",
        interruption_level=InterruptionLevel.CRITICAL,
        relevance_score=1.0,
        content_available=True,
    )
    expires_at = dt.datetime.fromtimestamp(1_800_000_000.9, dt.UTC)
    found = made(Push(ID, "f00d", content, presentation, expires_at))
    assert (found.push_type, found.priority) == ("alert", "5")
    assert dict(found.own) == {
        "apns-id": str(ID),
        "apns-collapse-id": "order-42",
        "apns-expiration": "1800000000",
    }
    assert json.loads(found.body) == {
        "order": "42",
        "image": "https://example.com/a.png",
        "pharosPushId": str(ID),
        "aps": {
            "alert": {"title": "Hi", "subtitle": "You", "body": "There"},
            "badge": 0,
            "sound": "ping.caf",
            "thread-id": "thread-1",
            "category": "OPEN",
            "content-available": 1,
            "mutable-content": 1,
            "interruption-level": "critical",
            "relevance-score": 1.0,
        },
    }


def test_background_push() -> None:
    push = replace(PLAIN, content=Content(data={"sync": "1"}), presentation=Presentation(content_available=True))
    assert kind_of(push) == ("background", "5")
    assert made(push).own == (("apns-id", str(ID)),)
    assert payload(push)["aps"] == {"content-available": 1}


@pytest.mark.parametrize("shown", [{"badge": 1}, {"sound": "ping"}])
def test_push_that_badges_or_sounds_is_no_background_push(shown: dict[str, Any]) -> None:
    push = replace(PLAIN, content=Content(), presentation=Presentation(content_available=True, **shown))
    assert made(push).push_type == "alert"


def test_category_goes_before_the_click_action() -> None:
    push = replace(PLAIN, content=Content(body="x", click_action="a"), presentation=Presentation(category="b"))
    assert payload(push)["aps"]["category"] == "b"


@pytest.mark.parametrize("key", ["x" * 65, "ключ", "line\r\nbreak", "", "a b"])
def test_collapse_key_that_is_no_header_value_goes_by_its_hash(key: str) -> None:
    def collapse_id(key: str) -> str:
        return dict(made(replace(PLAIN, presentation=Presentation(collapse_key=key))).own)["apns-collapse-id"]

    assert re.fullmatch("[0-9a-f]{64}", collapse_id(key))
    assert collapse_id(key) == collapse_id(key) != collapse_id(f"{key}{key}!")


def test_longest_collapse_key_stays_as_it_is() -> None:
    push = replace(PLAIN, presentation=Presentation(collapse_key="x" * 64))
    assert dict(made(push).own)["apns-collapse-id"] == "x" * 64


def test_token_can_not_leave_its_place_in_the_path() -> None:
    assert made(replace(PLAIN, token="../x?y#z")).path == "/3/device/..%2Fx%3Fy%23z"


def test_payload_limit_is_4096_bytes() -> None:
    room = 4096 - len(made(replace(PLAIN, content=Content(body=""))).body)
    assert len(made(replace(PLAIN, content=Content(body="x" * room))).body) == 4096
    too_large = compose(replace(PLAIN, content=Content(body="x" * (room + 1))))
    assert too_large == Rejected(Reason.PAYLOAD_TOO_LARGE, "PayloadTooLarge", called=False)


def test_half_a_surrogate_pair_is_refused() -> None:
    found = compose(replace(PLAIN, content=Content(title="\ud83d")))
    assert found == Rejected(Reason.PAYLOAD_REJECTED, "InvalidUnicode", called=False)
