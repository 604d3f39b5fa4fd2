"""A caller's JSON in the providers' messages: merged last, and never over what says who gets the push."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from server.domain.outcomes import Rejected
from server.domain.pushes import Content, Measured, Presentation, Provider, Push
from server.domain.reasons import Reason
from server.providers.apns.message import Message, compose
from server.providers.fcm.message import body
from server.providers.measuring import measure
from server.providers.overrides import merged

ID = UUID(int=7)
PLAIN = Push(ID, "ab12", Content(title="Hi", body="There", data={"k": "v"}), Presentation(badge=1))


def _fcm(overrides: dict[str, Any]) -> dict[str, Any]:
    made = body(replace(PLAIN, overrides=overrides), 0.0)
    assert isinstance(made, bytes)
    message: dict[str, Any] = json.loads(made)["message"]
    return message


def _apn(overrides: dict[str, Any]) -> dict[str, Any]:
    made = compose(replace(PLAIN, overrides=overrides))
    assert isinstance(made, Message)
    payload: dict[str, Any] = json.loads(made.body)
    return payload


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # RFC 7396, appendix A, as far as it is about objects
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_objects_are_merged_as_json_merge_patch_says(
    target: dict[str, Any], patch: dict[str, Any], result: dict[str, Any]
) -> None:
    before = json.dumps(target)
    assert merged(target, patch) == result
    assert json.dumps(target) == before


def test_fcm_message_is_overridden_deep_inside() -> None:
    plain = _fcm({})
    found = _fcm({"notification": {"title": "Other"}, "fcmOptions": {"analyticsLabel": "a"}})
    assert found["notification"] == {"title": "Other", "body": "There"}
    assert found["fcmOptions"] == {"analyticsLabel": "a"}
    assert {key: found[key] for key in plain if key != "notification"} == {
        key: plain[key] for key in plain if key != "notification"
    }


def test_apns_payload_is_overridden_deep_inside() -> None:
    found = _apn({"aps": {"badge": None, "sound": {"name": "x", "critical": 1}}, "extra": [1]})
    assert found["aps"] == {"alert": {"title": "Hi", "body": "There"}, "sound": {"name": "x", "critical": 1}}
    assert found["extra"] == [1]


def test_nobody_else_gets_the_push_and_its_id_stays() -> None:
    found = _fcm({"token": "other", "data": {"pharosPushId": "forged", "more": "1"}})
    assert (found["token"], found["data"]) == ("ab12", {"k": "v", "more": "1", "pharosPushId": str(ID)})
    assert _fcm({"data": None})["data"] == {"pharosPushId": str(ID)}
    assert _apn({"pharosPushId": "forged"})["pharosPushId"] == str(ID)


def test_overrides_count_towards_the_limit() -> None:
    large = "x" * 4096
    assert body(replace(PLAIN, overrides={"data": {"x": large}}), 0.0) == Rejected(
        Reason.PAYLOAD_TOO_LARGE, "MESSAGE_TOO_BIG", called=False
    )
    assert isinstance(body(replace(PLAIN, overrides={"android": {"notification": {"x": large}}}), 0.0), bytes)
    assert compose(replace(PLAIN, overrides={"x": large})) == Rejected(
        Reason.PAYLOAD_TOO_LARGE, "PayloadTooLarge", called=False
    )


@pytest.mark.parametrize("provider", list(Provider))
@pytest.mark.parametrize("overrides", [{}, {"x": 1}])
def test_what_is_measured_is_what_would_be_sent(provider: Provider, overrides: dict[str, Any]) -> None:
    push = replace(PLAIN, overrides=overrides)
    found = measure(provider, push)
    assert isinstance(found, Measured)
    if provider is Provider.FCM:
        assert found.body == body(push, 0.0)
        assert found.size == len("HiTherekv") + len("pharosPushId") + len(str(ID))
    else:
        sent = compose(push)
        assert isinstance(sent, Message)
        assert (found.body, found.size) == (sent.body, len(sent.body))
    assert (found.limit, found.fits) == (4096, True)


def test_half_a_surrogate_pair_has_no_message_to_measure() -> None:
    found = measure(Provider.APN, replace(PLAIN, content=Content(body="\ud83d")))
    assert isinstance(found, Rejected)
    assert found.reason is Reason.PAYLOAD_REJECTED
