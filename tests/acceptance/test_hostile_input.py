"""What no honest client sends over REST is a clear 4xx, writes nothing, and leaves the service as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest

from tests.acceptance.hostile import MIB, assert_refused, unharmed
from tests.acceptance.stack import Stack
from tests.plain_http import TRUSTS_NOBODY

_SEND: Final = "/v1/PushNotifications"
_REGISTER: Final = "/v1/PushNotifications/DeviceRegistrations"
_UPLOAD: Final = "/v1/PushNotifications/Credentials"
_JSON: Final = {"Content-Type": "application/json"}
_DEEP: Final = 100_000
_USER: Final = "comms_pushnotificationuser_01h2xcejqtf2nbrexx3vqjhp41"


@pytest.fixture(autouse=True, scope="module")
def unharmed_service(test_app: Stack) -> Iterator[None]:
    with unharmed(test_app, grows_at_most=64 * MIB):
        yield


def _recipient(variables: bytes) -> bytes:
    return b'{"to":[{"userId":"%b","variables":%b}],"content":{"body":"Hi"}}' % (_USER.encode(), variables)


def _sound(text: bytes) -> bytes:
    return b'{"to":[{"userId":"%b"}],"content":{"body":"Hi"},"sound":%b}' % (_USER.encode(), text)


def _overrides(value: bytes) -> bytes:
    return b'{"to":[{"userId":"%b"}],"content":{"body":"Hi"},"overrides":{"fcm":%b}}' % (_USER.encode(), value)


_NOT_JSON: Final[dict[str, bytes]] = {
    "nothing": b"",
    "blanks": b" \r\n\t",
    "half an object": b'{"to": [{"userId": "x"}',
    "half a text": b'{"sound": "',
    "half an escape": b'{"sound": "\\u12',
    "an open array": b"[",
    "two documents": b"{}{}",
    "something after the end": b"{}x",
    "a trailing comma": b'{"sound":"a",}',
    "no commas": b'{"sound":"a" "icon":"b"}',
    "single quotes": b"{'sound':'a'}",
    "bare keys": b'{sound:"a"}',
    "a comment": b'{"sound":/**/"a"}',
    "a byte order mark": b'\xef\xbb\xbf{"sound":"a"}',
    "UTF-16": '{"sound":"a"}'.encode("utf-16"),
    "UTF-32": '{"sound":"a"}'.encode("utf-32"),
    "a form": b"sound=a",
    "XML": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/passwd">]><x>&y;</x>',
    "binary": bytes(range(256)) * 8,
    "a control character": b'{"sound":"\x01"}',
    "a line break in a text": b'{"sound":"\n"}',
    "an unknown escape": b'{"sound":"\\x41"}',
}
_TEXTS: Final[dict[str, bytes]] = {
    "U+0000": b'"\0"',
    "U+0000 escaped": b'"\\u0000"',
    "U+0000 after a backslash": b'"\\\\\\u0000"',
    "a lone high surrogate": b'"\\ud800"',
    "a lone low surrogate": b'"\\udc00"',
    "surrogates the wrong way round": b'"\\udc00\\ud800"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "a pair of surrogates in UTF-8": b'"\xed\xa0\xbd\xed\xb8\x80"',
    "an overlong slash": b'"\xc0\xaf"',
    "an overlong zero": b'"\xc0\x80"',
    "beyond Unicode": b'"\xf4\x90\x80\x80"',
    "a lone continuation byte": b'"\x80"',
    "half a character": b'"\xe2\x82"',
    "Latin-1": b'"\xe9"',
}
_NUMBERS: Final[dict[str, bytes]] = {
    "too large for a double": b"1e999",
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "minus Infinity": b"-Infinity",
    "10,000 digits": b"9" * 10_000,
    "10,000 decimals": b"0." + b"1" * 10_000 + b"e99999",
    "a leading zero": b"01",
    "a plus": b"+1",
    "hexadecimal": b"0x1",
    "a bare point": b"1.",
    "no exponent": b"1e",
}
_DEEP_VALUES: Final[dict[str, bytes]] = {
    "arrays": b"[" * _DEEP + b"]" * _DEEP,
    "objects": b'{"a":' * _DEEP + b"1" + b"}" * _DEEP,
    "arrays without an end": b"[" * _DEEP,
    "objects without an end": b'{"a":' * _DEEP,
}


def _bodies() -> list[Any]:
    found = {f"not JSON: {name}": body for name, body in _NOT_JSON.items()}
    for name, text in _TEXTS.items():
        found[f"{name} in a text"] = _sound(text)
        found[f"{name} in a key"] = _sound(b'"a",%b:1' % text)
        found[f"{name} in variables"] = _recipient(b'{"a":[%b]}' % text)
        found[f"{name} in a variable's name"] = _recipient(b"{%b:1}" % text)
        found[f"{name} in overrides"] = _overrides(b'{"a":%b}' % text)
    for name, number in _NUMBERS.items():
        for field in ("badge", "ttl", "relevanceScore"):
            found[f"{field}: {name}"] = _sound(b'"a","%b":%b' % (field.encode(), number))
        found[f"variables: {name}"] = _recipient(b'{"a":%b}' % number)
    for name, value in _DEEP_VALUES.items():
        found[f"deep {name}"] = value
        found[f"deep {name} in a field"] = _sound(value)
        found[f"deep {name} in variables"] = _recipient(b'{"a":%b}' % value)
        found[f"deep {name} in overrides"] = _overrides(b'{"a":%b}' % value)
    return [pytest.param(body, id=name) for name, body in found.items()]


async def _refused(
    rest: httpx.AsyncClient, path: str, body: bytes, *allowed: int, **headers: str
) -> list[dict[str, Any]]:
    response = await rest.post(path, content=body, headers=_JSON | headers)
    return assert_refused(response.status_code, response.content, *(allowed or (400,)))


@pytest.mark.parametrize("body", _bodies())
async def test_a_body_that_is_no_decent_json(rest: httpx.AsyncClient, body: bytes) -> None:
    for error in await _refused(rest, _SEND, body):
        assert error["context"].startswith("$")
    if body:
        await _refused(rest, _REGISTER, body)
        await _refused(rest, _UPLOAD, body)


_GOOD: Final[dict[str, Any]] = {
    "to": [{"userId": _USER, "variables": {}}],
    "content": {"title": "Hi", "body": "Hi", "subtitle": "Hi"},
    "from": {"appName": "test_app"},
    "priority": "HIGH",
    "sound": "a",
    "data": {"a": "b"},
    "image": "https://x/y",
    "badge": 1,
    "clickAction": "a",
    "category": "a",
    "threadId": "a",
    "collapseKey": "a",
    "ttl": 1,
    "mutableContent": True,
    "contentAvailable": True,
    "tags": {"a": "b"},
    "dryRun": False,
    "icon": "a",
    "color": "#000000",
    "channelId": "a",
    "interruptionLevel": "ACTIVE",
    "relevanceScore": 0.5,
}

_FIELDS: Final = (*_GOOD, "schedule", "overrides")
_WRONG: Final[dict[str, Any]] = {
    "an array in an array": [[]],
    "an object in an array": [{"x": 1}],
    "an object": {"x": [1]},
    "a mixture": [1, "a", None, True],
    "a long text": "\U0001f4a3" * 20_000,
}


@pytest.mark.parametrize("wrong", _WRONG)
@pytest.mark.parametrize("name", _FIELDS)
async def test_a_value_of_a_wrong_type_or_size_in_every_field(rest: httpx.AsyncClient, name: str, wrong: str) -> None:
    found = await _refused(rest, _SEND, json.dumps({**_GOOD, name: _WRONG[wrong]}).encode())
    assert all(error["context"].startswith(f"$.{name}") for error in found), found


async def test_wrong_types_everywhere_are_all_told(rest: httpx.AsyncClient) -> None:
    body = {
        name: [] if isinstance(good, dict) else {} for name, good in {**_GOOD, "schedule": {}, "overrides": {}}.items()
    }
    assert {error["context"] for error in await _refused(rest, _SEND, json.dumps(body).encode())} == {
        f"$.{name}" for name in _FIELDS
    }


@pytest.mark.parametrize(
    ("number", "contexts"),
    [
        ("-0", {"$.to"}),
        ("1.0", {"$.to", "$.badge", "$.ttl"}),
        ("1e0", {"$.to", "$.badge", "$.ttl"}),
        ("-0.0", {"$.to", "$.badge", "$.ttl"}),
        ("1.5", {"$.to", "$.badge", "$.ttl", "$.relevanceScore"}),
        ("4294967296", {"$.to", "$.badge", "$.ttl", "$.relevanceScore"}),
        ("2147483647", {"$.to", "$.ttl", "$.relevanceScore"}),
        ("-1", {"$.to", "$.badge", "$.ttl", "$.relevanceScore"}),
        ('"1"', {"$.to", "$.badge", "$.ttl", "$.relevanceScore"}),
        ("true", {"$.to", "$.badge", "$.ttl", "$.relevanceScore"}),
    ],
)
async def test_numbers_are_what_they_should_be(rest: httpx.AsyncClient, number: str, contexts: set[str]) -> None:
    body = f'{{"to":[],"content":{{"body":"Hi"}},"badge":{number},"ttl":{number},"relevanceScore":{number}}}'
    assert {error["context"] for error in await _refused(rest, _SEND, body.encode())} == contexts


@pytest.mark.parametrize(
    ("path", "body", "context"),
    [
        (_SEND, {"to": [{"userId": _USER, "x": 1}], "content": {"body": "Hi"}}, "$.to[0].x"),
        (_SEND, {**_GOOD, "to": [{"userId": _USER}], "requestId": "a"}, "$.requestId"),
        (_SEND, {"to": [{"userId": _USER}], "content": {"body": "Hi", "__proto__": {}}}, "$.content.__proto__"),
        (_SEND, {"to": [{"userId": _USER}], "content": {"body": "Hi"}, "$x": 1}, "$['$x']"),
        (_SEND, {"to": [{"userId": _USER}], "content": {"body": "Hi"}, "x" * 9999: 1}, f"$['{'x' * 100}']"),
        (_REGISTER, {"token": "a", "provider": "FCM", "user_id": _USER}, "$.user_id"),
        (
            _UPLOAD,
            {"credentialType": "FCM", "content": {"privateKey": "b", "private_key": "b"}},
            "$.content.private_key",
        ),
    ],
)
async def test_unknown_fields_are_named(rest: httpx.AsyncClient, path: str, body: Any, context: str) -> None:
    assert [error["context"] for error in await _refused(rest, path, json.dumps(body).encode())] == [context]


async def test_keys_that_stand_twice_are_named(rest: httpx.AsyncClient) -> None:
    body = _sound(b'"a","s\\u006fund":"b","overrides":{"fcm":{"a":1,"a":1}}').replace(b'"Hi"', b'"Hi","body":""')
    found = await _refused(rest, _SEND, body)
    assert [error["context"] for error in found] == ["$.content.body", "$.sound", "$.overrides.fcm.a"]
    twice = b'{"token":"a","provider":"FCM","provider":"APN"}'
    assert [error["context"] for error in await _refused(rest, _REGISTER, twice)] == ["$.provider"]


async def test_one_recipient_too_many_and_all_else_that_is_wrong(rest: httpx.AsyncClient) -> None:
    body = {
        "to": [{"userId": _USER}] * 10_001,
        "content": {"body": "{{ x"},
        "from": {"appName": "nobodys"},
        "badge": -1,
    }
    contexts = {error["context"] for error in await _refused(rest, _SEND, json.dumps(body).encode())}
    assert contexts == {"$.to", "$.content.body", "$.from.appName", "$.badge"}


async def test_10_000_bad_recipients_are_50_problems(rest: httpx.AsyncClient) -> None:
    body = {"to": [{"userId": "nobody"}] * 10_000, "content": {"body": "{{ x"}}
    found = await _refused(rest, _SEND, json.dumps(body).encode())
    assert [error["context"] for error in found] == [f"$.to[{index}].userId" for index in range(50)]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/jsonp"},
        {"Content-Type": ""},
        {"Content-Type": "\xff"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": "application/json", "Content-Encoding": "identity, br"},
    ],
    ids=str,
)
async def test_a_body_of_another_kind_is_a_415(rest: httpx.AsyncClient, headers: dict[str, str]) -> None:
    request = httpx.Headers(headers, encoding="latin-1")
    response = await rest.post(_SEND, content=_sound(b'"a"'), headers=request)
    assert_refused(response.status_code, response.content, 415)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/PushNotifications?x=1", 400),
        ("/v1/PushNotifications?pageSize=1&pageSize=2", 400),
        ("/v1/PushNotifications?pageSize=1e1", 400),
        ("/v1/PushNotifications?pageSize=99999999999999999999", 400),
        ("/v1/PushNotifications?pageSize=%00", 400),
        ("/v1/PushNotifications?status=%ff", 400),
        ("/v1/PushNotifications?status=%ed%a0%80", 400),
        ("/v1/PushNotifications?pageToken=%00", 400),
        ("/v1/PushNotifications?pageToken=AAAA", 400),
        ("/v1/PushNotifications?pageToken=" + "A" * 5000, 400),
        ("/v1/PushNotifications?" + "&".join(["pageSize=1"] * 1000), 400),
        ("/v1/PushNotifications/%00", 400),
        ("/v1/PushNotifications/%ff", 404),
        ("/v1/PushNotifications/%ed%a0%80", 404),
        ("/v1/PushNotifications/..%2f..%2fetc%2fpasswd", 400),
        ("/v1/PushNotifications/" + "a" * 30_000, 400),
        ("/v1/PushNotifications/Apps/' or 1=1 --", 400),
        ("/v1/PushNotifications/Users/%F0%9F%92%A3", 400),
        ("/v1//PushNotifications", 404),
        ("/v1/PushNotifications/../PushNotifications/", 404),
    ],
)
async def test_a_strange_path_or_query(rest: httpx.AsyncClient, path: str, status: int) -> None:
    url = rest.base_url.copy_with(raw_path=path.replace(" ", "%20").encode())
    response = await rest.get(url)
    assert_refused(response.status_code, response.content, status)


@pytest.mark.parametrize("key", ["", "\xe9", "a" * 256, "a\tb"], ids=["empty", "not ASCII", "too long", "a tab"])
async def test_a_strange_idempotency_key(rest: httpx.AsyncClient, key: str) -> None:
    headers = httpx.Headers(_JSON | {"Idempotency-Key": key}, encoding="latin-1")
    response = await rest.post(_SEND, content=_sound(b'"a"'), headers=headers)
    assert_refused(response.status_code, response.content, 400)


@pytest.mark.parametrize(
    "value",
    ["", "Basic", "Basic =", "Basic " + "A" * 20_000, "Bearer x", "Basic Og==", "Basic AAA6AAA=", "basic /////w=="],
    ids=lambda value: value[:20],
)
async def test_strange_credentials_are_a_401(test_app: Stack, value: str) -> None:
    async with httpx.AsyncClient(base_url=test_app.url, timeout=60, verify=TRUSTS_NOBODY) as anybody:
        for request in (anybody.build_request("GET", _SEND), anybody.build_request("POST", _SEND, content=b"{")):
            request.headers["Authorization"] = value
            response = await anybody.send(request)
            assert_refused(response.status_code, response.content, 401, 400, 415)
            if request.method == "GET":
                assert response.status_code == 401
