from __future__ import annotations

import json
from pathlib import Path

import pytest
from pharos.push.v1.types_pb2 import Provider, Recipient

from client.recipients import RecipientError, parse_recipient, read_recipients


def test_a_recipient_is_a_user_or_a_token_of_a_provider() -> None:
    assert parse_recipient("user:u1") == Recipient(user_id="u1")
    assert parse_recipient("fcm:abc:APA91b") == Recipient(token="abc:APA91b", provider=Provider.PROVIDER_FCM)
    assert parse_recipient("apn:00ff") == Recipient(token="00ff", provider=Provider.PROVIDER_APN)


@pytest.mark.parametrize("text", ["", "user", "user:", "sms:123", ":x"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(RecipientError, match="is none of user:ID, fcm:TOKEN, apn:TOKEN"):
        parse_recipient(text)


def test_a_file_has_one_recipient_a_line_with_variables_of_any_type(tmp_path: Path) -> None:
    path = tmp_path / "to.jsonl"
    path.write_text(
        '{"userId": "u1", "variables": {"name": "Zoë", "points": 3}}\n\n{"provider": "APN", "token": "00ff"}\n',
        encoding="utf-8",
    )

    user, device = read_recipients(path)

    assert user.user_id == "u1"
    assert json.loads(user.variables_json) == {"name": "Zoë", "points": 3}
    assert device == Recipient(token="00ff", provider=Provider.PROVIDER_APN)


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[]",
        "{}",
        '{"userId": ""}',
        '{"userId": 1}',
        '{"userId": "u", "token": "t", "provider": "FCM"}',
        '{"token": "t"}',
        '{"token": "t", "provider": "fcm"}',
        '{"userId": "u", "variable": {}}',
        '{"userId": "u", "variables": []}',
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "to.jsonl"
    path.write_text('{"userId": "u1"}\n' + line + "\n")

    with pytest.raises(RecipientError, match=r"to\.jsonl:2: "):
        list(read_recipients(path))
