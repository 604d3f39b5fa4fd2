"""The contract's rules as callers hear of them: which field, what about it, and never too much at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.message import Message
from pharos.push.v1 import device_registrations_pb2, push_notifications_pb2, types_pb2, users_pb2
from protovalidate import Validator

from server.api import validation
from server.api.validation import check
from server.domain.errors import Invalid

_USER = "comms_user_01m815cb4hev1ssrsmmsa7gj7q"
_Content = push_notifications_pb2.Content


def _send(*recipients: types_pb2.Recipient, body: str = "Hello") -> push_notifications_pb2.SendPushNotificationRequest:
    return push_notifications_pb2.SendPushNotificationRequest(to=recipients, content=_Content(body=body))


def _problems(request: Message) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        check(request)
    return {violation.field: violation.message for violation in caught.value.violations}


def test_a_request_that_keeps_the_rules_passes() -> None:
    check(_send(*[types_pb2.Recipient(user_id=_USER, variables={"name": "Ann"})] * 10_000))


def test_paths_name_the_place_as_the_contract_does() -> None:
    good = types_pb2.Recipient(user_id=_USER)
    bad_token = types_pb2.Recipient(token="x" * 5000, provider=1)
    bad_key = types_pb2.Recipient(user_id=_USER, variables={"k" * 300: "v"})
    assert set(_problems(_send(good, bad_token, bad_key))) == {"to[1].token", f'to[2].variables["{"k" * 300}"]'}


def test_a_rule_of_the_whole_message_names_the_message() -> None:
    assert _problems(_send(types_pb2.Recipient(user_id=_USER, provider=1))) == {
        "to[0]": "a token needs a provider, and a user must not have one"
    }


def test_what_is_missing_is_said_to_be_required() -> None:
    request = device_registrations_pb2.RegisterDeviceRequest()
    assert _problems(request) == {"token": "is required", "provider": "is required"}


def test_a_value_that_is_not_possible_is_not_called_missing() -> None:
    request = push_notifications_pb2.ListPushNotificationsRequest(status=types_pb2.DELIVERY_STATUS_UNADDRESSABLE)
    assert _problems(request) == {"status": "is none of the possible values"}


def test_problems_of_the_whole_and_of_its_elements_come_together() -> None:
    request = _send(types_pb2.Recipient(user_id="nobody"))
    request.request_id = "\u00e9"
    assert set(_problems(request)) == {"to[0].user_id", "request_id"}


class _Counting:
    """The validator, and how many violations it was made to collect."""

    def __init__(self) -> None:
        self.collected = 0
        self._validator = Validator()

    def collect_violations(self, message: Message, *, fail_fast: bool) -> Sequence[Any]:
        found = self._validator.collect_violations(message, fail_fast=fail_fast)
        self.collected += len(found)
        return found


@pytest.fixture
def validator(monkeypatch: pytest.MonkeyPatch) -> _Counting:
    counting = _Counting()
    monkeypatch.setattr(validation, "_validator", counting)
    return counting


def test_at_most_50_problems_are_told_and_no_more_are_looked_for(validator: _Counting) -> None:
    request = _send(*[types_pb2.Recipient(token="t")] * 10_000)
    assert list(_problems(request)) == [f"to[{index}]" for index in range(50)]
    assert validator.collected <= 51


def test_of_a_huge_map_of_wrong_values_only_the_first_is_looked_for(validator: _Counting) -> None:
    recipient = types_pb2.Recipient(user_id=_USER, variables={"k" * 257 + str(n): "" for n in range(50_000)})
    assert len(_problems(_send(recipient))) == 1
    assert validator.collected <= 3


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (device_registrations_pb2.RegisterDeviceRequest(token="a\0", provider=1), "token"),
        (_send(types_pb2.Recipient(user_id=_USER), body="a\0"), "content.body"),
        (_send(types_pb2.Recipient(user_id=_USER), types_pb2.Recipient(token="\0", provider=1)), "to[1].token"),
        (_send(types_pb2.Recipient(user_id=_USER, variables={"a": "\0"})), "to[0].variables"),
        (_send(types_pb2.Recipient(user_id=_USER, variables={"a\0": ""})), "to[0].variables"),
    ],
)
def test_no_text_may_have_u0000(request_: Message, field: str) -> None:
    assert _problems(request_) == {field: "must not contain U+0000"}


def test_zeros_that_are_not_text_are_fine() -> None:
    check(_send(types_pb2.Recipient(user_id=_USER, variables={"empty": ""})))
    check(users_pb2.ListUsersRequest(page_size=256))
