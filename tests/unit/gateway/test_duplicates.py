"""A key that stands twice in one object is a problem with a path, wherever it stands and however it is spelled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pharos.push.v1 import credentials_pb2, push_notifications_pb2

from gateway.decode import BodyDecoder
from gateway.errors import ApiError

SEND = BodyDecoder(push_notifications_pb2.SendPushNotificationRequest.DESCRIPTOR)
UPLOAD = BodyDecoder(credentials_pb2.CreateCredentialRequest.DESCRIPTOR)
TWICE = "The key stands twice in the same object"


def _problems(decoder: BodyDecoder, body: bytes) -> list[tuple[str, str | None]]:
    with pytest.raises(ApiError) as raised:
        decoder.decode(body)
    return [(problem.message, problem.context) for problem in raised.value.problems]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"sound":"a","sound":"b"}', "$.sound"),
        (b'{"sound":"a","sound":"a"}', "$.sound"),
        (b'{"sound":"a","sound":null}', "$.sound"),
        (b'{"sound":"a","so\\u0075nd":"b"}', "$.sound"),
        (b'{"to":[{},{"userId":"a","userId":"b"}]}', "$.to[1].userId"),
        (b'{"to":[{"variables":{"a":1,"a":2}}]}', "$.to[0].variables.a"),
        (b'{"to":[{"variables":{"a":[1,{"b c":1,"b\\u0020c":2}]}}]}', "$.to[0].variables.a[1]['b c']"),
        (b'{"to":[{"variables":{"\xc3\xa9":1,"\\u00e9":2}}]}', "$.to[0].variables['\u00e9']"),
        (b'{"to":[{"variables":{"\\ud83d\\ude00":1,"\xf0\x9f\x98\x80":2}}]}', "$.to[0].variables['\U0001f600']"),
        (b'{"overrides":{"fcm":{"android":{"ttl":"1s","ttl":"2s"}}}}', "$.overrides.fcm.android.ttl"),
        (b'{"data":{"a":"1","a":"1","a":"1"}}', "$.data.a"),
        (b'{"to":[{"variables":{"":1,"":2}}]}', "$.to[0].variables['']"),
    ],
)
def test_it_is_named_by_its_path(body: bytes, path: str) -> None:
    assert _problems(SEND, body) == [(TWICE, path)]


def test_all_of_them_come_with_the_wrong_types() -> None:
    body = b'{"content":{"privateKey":"a","privateKey":"b"},"appName":"x","appName":1,"isDefault":"yes"}'
    found = _problems(UPLOAD, body)
    assert found[:2] == [(TWICE, "$.content.privateKey"), (TWICE, "$.appName")]
    assert {path for _, path in found[2:]} == {"$.appName", "$.isDefault"}


def test_at_most_50_are_told() -> None:
    recipients = b",".join([b'{"variables":{"a":1,"a":1}}'] * 60)
    assert len(_problems(SEND, b'{"to":[%s]}' % recipients)) == 50


def test_the_same_key_in_different_objects_is_fine() -> None:
    body = b'{"to":[{"variables":{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}},{"variables":{"a":1}}],"data":{"to":"a"}}'
    assert len(SEND.decode(body)["to"]) == 2


def test_keys_inside_of_texts_are_no_keys() -> None:
    body = json.dumps({"to": [{"variables": {"a": '{"b":1,"b":2}', '"a":1,"a"': 2}}]}).encode()
    SEND.decode(body)


@pytest.mark.parametrize("number", [b"9" * 10_000, b"-0", b"1e5", b"12345678901234567890.5"])
def test_numbers_in_variables_are_no_matter(number: bytes) -> None:
    SEND.decode(b'{"to":[{"variables":{"a":%s}}]}' % number)


@pytest.mark.parametrize("depth", [*range(960, 1000, 3), 5_000, 100_000])
def test_nesting_is_refused_and_never_an_error_of_ours(depth: int) -> None:
    nested = b"[" * depth + b'{"a":1,"a":2}' + b"]" * depth
    [(message, path)] = _problems(SEND, b'{"to":[{"variables":{"a":%s}}]}' % nested)
    assert path == "$" or (path or "").startswith("$.to[0].variables.a[0][0]")
    assert len(path or "") <= 1000
    assert message in {TWICE, "The JSON is nested too deeply"}


@pytest.mark.parametrize("value", [b"[]", b"{}", b"0", b'""'])
def test_millions_of_values_are_not_read_at_all(value: bytes) -> None:
    body = b'{"to":[{"variables":{"a":[%b]}}]}' % b",".join([value] * 2_000_000)
    assert _problems(SEND, body) == [("The JSON has more than two million values", "$")]


MEMBERS = st.sampled_from(["a", "A", "\u00e9"])
JSON = st.recursive(
    st.integers() | st.text(["a", '"', "\\", "\u00e9"], max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(MEMBERS, inner), max_size=3).map(tuple),
    max_leaves=8,
)


def _text(value: Any) -> str:
    """JSON of it, where a tuple is the members of an object."""
    if isinstance(value, tuple):
        members = ",".join(f"{json.dumps(key)}:{_text(inner)}" for key, inner in value)
        return f"{{{members}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    return json.dumps(value)


def _has_duplicates(value: Any) -> bool:
    if isinstance(value, tuple):
        keys: Sequence[str] = [key for key, _ in value]
        return len(set(keys)) < len(keys) or any(_has_duplicates(inner) for _, inner in value)
    return isinstance(value, list) and any(map(_has_duplicates, value))


@given(JSON)
@settings(max_examples=300, deadline=None)
def test_a_body_is_refused_just_when_it_has_some(value: Any) -> None:
    body = b'{"to":[{"variables":{"x":%s}}]}' % _text(value).encode()
    if _has_duplicates(value):
        assert {message for message, _ in _problems(SEND, body)} == {TWICE}
    else:
        SEND.decode(body)
