"""FCM's JSON: the schema is Google's, and a message is taken or refused as Google would."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from sandbox import fcm_message, fcm_rules
from sandbox.fcm_message import InvalidMessage

ROOT = Path(__file__).resolve().parents[2]


def violation(message: dict[str, Any], **outer: Any) -> str | None:
    """What is wrong with a message to a good token, or None."""
    body = json.dumps({"message": {"token": "t", **message}, **outer}).encode()
    try:
        decoded = fcm_message.decode(body)
    except InvalidMessage as error:
        return error.violations[0].description
    found = fcm_rules.first_violation(decoded.message, len(body))
    return found.description if found else None


def test_the_schema_is_in_step_with_googles_description() -> None:
    spec = importlib.util.spec_from_file_location("fcm_schema", ROOT / "tools" / "fcm_schema.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    committed = json.loads((ROOT / "sandbox" / "fcm_schema.json").read_text())
    assert committed == tool.derive(), "run tools/fcm_schema.py and review the difference"


VALID: dict[str, dict[str, Any]] = {
    "notification": {"notification": {"title": "a", "body": "b", "image": "https://x/y.png"}},
    "data": {"data": {"pharosPushId": "1", "googlex": "not reserved", "fromage": "nor this"}},
    "snake case": {"android": {"collapse_key": "k", "notification": {"channel_id": "c", "body_loc_args": ["x"]}}},
    "camel case": {"android": {"collapseKey": "k", "notification": {"channelId": "c", "bodyLocArgs": ["x"]}}},
    "null is absent": {"notification": None, "android": {"ttl": None, "priority": "HIGH"}},
    "number as text": {"android": {"notification": {"notification_count": "3"}}},
    "whole float": {"android": {"notification": {"notificationCount": 3.0}}},
    "enum in lower case": {"android": {"priority": "high"}},
    "enum by number": {"android": {"priority": 1}},
    "ttl": {"android": {"ttl": "3.5s"}},
    "longest ttl": {"android": {"ttl": "2419200s"}},
    "color": {"android": {"notification": {"color": "#Aa00fF"}}},
    "light": {"android": {"notification": {"lightSettings": {"color": {"red": 1, "alpha": 0.5}}}}},
    "apns": {"apns": {"headers": {"apns-priority": "10"}, "payload": {"aps": {"alert": "x"}, "n": {"a": [1]}}}},
    "silent apns": {"apns": {"headers": {"apns-priority": "5"}, "payload": {"aps": {"content-available": 1}}}},
    "webpush": {"webpush": {"fcmOptions": {"link": "https://x"}, "notification": {"title": "t", "actions": [{}]}}},
    "label": {"fcmOptions": {"analyticsLabel": "spring-sale_1.~%"}},
    "topic": {"token": None, "topic": "news"},
    "fid": {"token": None, "fid": "cXJ0"},
    "condition": {"token": None, "condition": "'a' in topics && ('b' in topics || !('c' in topics))"},
    "largest data": {"data": {"k": "x" * 4095}},
}


@pytest.mark.parametrize("message", VALID.values(), ids=VALID.keys())
def test_a_valid_message_is_taken(message: dict[str, Any]) -> None:
    assert violation(message) is None


INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "unknown field": ({"foo": 1}, "Unknown name \"foo\" at 'message': Cannot find field."),
    "unknown deep": ({"android": {"notification": {"x": 1}}}, "Unknown name \"x\" at 'message.android.notification'"),
    "number in data": (
        {"android": {"data": {"a": "b", "message-count": 1}}},
        "Invalid value at 'message.android.data[1].value' (TYPE_STRING), 1",
    ),
    "null in data": ({"data": {"a": None}}, "(TYPE_STRING), null"),
    "list as data": ({"data": []}, "Invalid value at 'message.data'"),
    "title not text": ({"notification": {"title": 5}}, "'message.notification.title' (TYPE_STRING), 5"),
    "text as boolean": ({"android": {"directBootOk": "true"}}, "(TYPE_BOOL)"),
    "fraction as count": ({"android": {"notification": {"notificationCount": 1.5}}}, "(TYPE_INT32)"),
    "count too large": ({"android": {"notification": {"notificationCount": 2**31}}}, "(TYPE_INT32)"),
    "unknown enum": ({"android": {"priority": "high-ish"}}, "(TYPE_ENUM)"),
    "enum number too large": ({"android": {"priority": 2}}, "(TYPE_ENUM)"),
    "boolean as enum": ({"android": {"priority": [True]}}, "(TYPE_ENUM)"),
    "ttl without s": ({"android": {"ttl": "60"}}, "google.protobuf.Duration"),
    "ttl as number": ({"android": {"ttl": 60}}, "google.protobuf.Duration"),
    "negative ttl": ({"android": {"ttl": "-1s"}}, "Invalid ttl"),
    "ttl above four weeks": ({"android": {"ttl": "2419201s"}}, "Invalid ttl"),
    "event time": ({"android": {"notification": {"eventTime": "tomorrow"}}}, "google.protobuf.Timestamp"),
    "from": ({"data": {"from": "x"}}, "Invalid data payload key: from"),
    "message_type": ({"data": {"message_type": "x"}}, "Invalid data payload key: message_type"),
    "google.": ({"data": {"google.sent": "x"}}, "Invalid data payload key: google.sent"),
    "gcm.notification.": ({"android": {"data": {"gcm.notification.e": "1"}}}, "Invalid data payload key"),
    "no target": ({"token": None}, "Recipient of the message is not set."),
    "empty token": ({"token": ""}, "Recipient of the message is not set."),
    "two targets": ({"topic": "news"}, "oneof field 'target' is already set"),
    "topic": ({"token": None, "topic": "/topics/news"}, "Malformed topic name"),
    "six topics": ({"token": None, "condition": " || ".join(f"'{n}' in topics" for n in "abcdef")}, "at most 5"),
    "condition": ({"token": None, "condition": "news"}, "Invalid condition expression"),
    "both androids": ({"android": {}, "androidV2": {}}, "mutually exclusive"),
    "color": ({"android": {"notification": {"color": "red"}}}, "Invalid color"),
    "label": ({"fcmOptions": {"analyticsLabel": "spring sale"}}, "Invalid analytics label"),
    "link": ({"webpush": {"fcmOptions": {"link": "http://x"}}}, "only https"),
    "apns priority": ({"apns": {"headers": {"apns-priority": "7"}}}, "Invalid apns-priority"),
    "data-only at 10": ({"data": {"a": "b"}, "apns": {"headers": {"apns-priority": "10"}}}, "must be 5"),
    "data too large": ({"data": {"k": "x" * 4096}}, "Android message is too big"),
    "in sum too large": (
        {"data": {"k": "x" * 3000}, "notification": {"body": "y" * 1200}},
        "Android message is too big",
    ),
    "payload too large": ({"apns": {"payload": {"aps": {"alert": "x" * 4096}}}}, "APNs payload is too big"),
    "topic too large": ({"token": None, "topic": "n", "data": {"k": "x" * 2048}}, "too big"),
}


@pytest.mark.parametrize(("message", "expected"), INVALID.values(), ids=INVALID.keys())
def test_an_invalid_message_is_refused_in_googles_words(message: dict[str, Any], expected: str) -> None:
    assert expected in str(violation(message))


def test_an_unknown_name_beside_the_message_is_refused() -> None:
    assert violation({}, extra=1) == 'Invalid JSON payload received. Unknown name "extra": Cannot find field.'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff",
        b'{"message":{"apns":{"payload":' + b'{"a":' * 9000,
        b'{"message":[]}',
        b'{"message":{"token":"\xff"}}',
    ],
)
def test_what_is_not_a_request_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidMessage):
        fcm_message.decode(body)


def test_of_a_repeated_key_the_last_counts() -> None:
    assert fcm_message.decode(b'{"message":{"token":"a","token":"b"}}').message.token == "b"


def test_escapes_don_t_count_as_size() -> None:
    assert violation({"data": {"k": "\u00e9" * 2000}}) is None
