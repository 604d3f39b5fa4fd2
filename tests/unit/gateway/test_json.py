"""The JSON codec over every message of the contract: nothing is lost, and both passes agree on what is wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st
from pharos.push.v1 import device_registrations_pb2, push_notifications_pb2, types_pb2

from gateway.contract import read_contract
from gateway.decode import BodyDecoder, Member, Shape
from gateway.encode import encoder
from gateway.errors import ApiError
from gateway.events import event
from gateway.schema import JsonField, enum_names, json_fields
from gateway.schema_rules import is_never_empty, rules_of

SEND = push_notifications_pb2.SendPushNotificationRequest.DESCRIPTOR
BODIES = {
    rpc.method.input_type.full_name: rpc.method.input_type
    for rpc in read_contract()
    if any(binding.body for binding in rpc.bindings)
}

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_STRING: TEXT,
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
}


def values_of(known: JsonField) -> st.SearchStrategy[Any]:
    """What a field may hold, as the constructor of its message takes it."""
    if known.is_map:
        return st.dictionaries(TEXT, SCALARS[known.map_value.type], max_size=3)
    if known.options.object_name:
        one: st.SearchStrategy[Any] = st.dictionaries(TEXT, JSON, max_size=3).map(
            lambda value: json.dumps(value).encode()
        )
    elif known.is_timestamp:
        one = st.datetimes(datetime(1, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001 - bounds are naive
            lambda moment: moment.replace(microsecond=0)
        )
    elif known.message is not None:
        one = messages(known.message)
    elif known.proto.enum_type is not None:
        one = st.sampled_from(sorted(enum_names(known.proto.enum_type)))
    else:
        one = SCALARS[known.proto.type]
    return st.lists(one, max_size=3) if known.is_list else one


@st.composite
def messages(draw: st.DrawFn, descriptor: Descriptor) -> Message:
    """Any message that JSON can say: no field that a header carries, and one at most of each oneof."""
    known = [field for field in json_fields(descriptor) if not field.options.header]
    arguments, oneofs = {}, set()
    for field in draw(st.lists(st.sampled_from(known), unique_by=lambda field: field.name)):
        oneof = field.proto.containing_oneof
        if oneof is None or oneof.name not in oneofs:
            arguments[field.proto.name] = draw(values_of(field))
        if oneof is not None:
            oneofs.add(oneof.name)
    return GetMessageClass(descriptor)(**arguments)


def without_empty(descriptor: Descriptor, document: Any) -> Any:
    """The document as a request has it: an answer also writes the texts whose emptiness means that there is none."""
    if isinstance(document, list):
        return [without_empty(descriptor, each) for each in document]
    for known in json_fields(descriptor):
        if document and is_never_empty(rules_of(known.proto)) and document.get(known.name) == "":
            del document[known.name]
        elif document and known.message is not None:
            without_empty(known.message, document.get(known.name))
    return document


@pytest.mark.parametrize("name", BODIES)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_back(name: str, data: st.DataObject) -> None:
    message = data.draw(messages(BODIES[name]))
    written = encoder(BODIES[name])(message, "")
    body = msgspec.json.encode(without_empty(BODIES[name], written))
    assert GetMessageClass(BODIES[name])(**BodyDecoder(BODIES[name]).decode(body)) == message


def near_misses(member: Member) -> st.SearchStrategy[Any]:
    if member.value.shape is not None:
        one = objects_like(member.value.shape) | JSON
    elif member.value.names:
        one = st.sampled_from([*member.value.names, "OTHER"]) | JSON
    else:
        one = st.sampled_from(["2026-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", 1, 1.5, True, "x", {}]) | JSON
    return {"one": one, "list": st.lists(one, max_size=2) | one, "map": st.dictionaries(TEXT, one, max_size=2) | one}[
        member.kind
    ]


def objects_like(shape: Shape) -> st.SearchStrategy[dict[str, Any]]:
    known = st.fixed_dictionaries({}, optional={name: near_misses(member) for name, member in shape.members.items()})
    return st.tuples(known, st.just({}) | st.dictionaries(TEXT, JSON, max_size=1)).map(lambda pair: pair[1] | pair[0])


@given(document=objects_like(Shape.of(SEND)) | JSON)
@settings(max_examples=400, deadline=None)
def test_the_pass_that_decodes_and_the_one_that_explains_agree(document: Any) -> None:
    body = json.dumps(document).encode()
    problems = list(Shape.of(SEND).problems(msgspec.json.decode(body), "$"))
    if problems:
        with pytest.raises(ApiError) as raised:
            BodyDecoder(SEND).decode(body)
        assert list(raised.value.problems) == problems[:50]
    else:
        GetMessageClass(SEND)(**BodyDecoder(SEND).decode(body))


@given(
    text=st.text(st.sampled_from('a\\u0dD8c"\0\ud83d\ude00é'), max_size=12),
    ascii_only=st.booleans(),
    inside=st.booleans(),
)
@settings(max_examples=500, deadline=None)
def test_texts_are_unicode_without_nul_wherever_they_stand(text: str, *, ascii_only: bool, inside: bool) -> None:
    document: dict[str, Any] = {"to": [{"variables": {"a": text}}]} if inside else {"sound": text}
    body = json.dumps(document, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    if _is_clean(text, escaped=ascii_only):
        message = push_notifications_pb2.SendPushNotificationRequest(**BodyDecoder(SEND).decode(body))
        read = json.loads(body)
        if inside:
            assert json.loads(message.to[0].variables_json) == read["to"][0]["variables"]
        else:
            assert message.sound == read["sound"]
    else:
        with pytest.raises(ApiError):
            BodyDecoder(SEND).decode(body)


def _is_clean(text: str, *, escaped: bool) -> bool:
    if escaped:  # two escaped halves make one character; as bytes they never do
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\ufffd", "\ud800")
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def test_raw_values_stay_as_they_were_written() -> None:
    decoded = BodyDecoder(SEND).decode(b'{"overrides":{"fcm": {"big":12345678901234567890, "f": 1.0} }}')
    assert decoded == {"overrides": {"fcm_json": b'{"big":12345678901234567890, "f": 1.0}'}}


@pytest.mark.parametrize(
    ("enum", "names"),
    [
        (types_pb2.Provider.DESCRIPTOR, {1: "FCM", 2: "APN"}),
        (
            push_notifications_pb2.InterruptionLevel.DESCRIPTOR,
            {1: "PASSIVE", 2: "ACTIVE", 3: "TIME_SENSITIVE", 4: "CRITICAL"},
        ),
    ],
)
def test_enum_values_are_named_without_their_enum(enum: Any, names: dict[int, str]) -> None:
    assert enum_names(enum) == names


def test_what_only_grpc_callers_have_is_not_in_json() -> None:
    names = [known.name for known in json_fields(types_pb2.Recipient.DESCRIPTOR)]
    assert names == ["token", "userId", "provider", "variables"]


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_data_with_line_breaks_stays_one_event(line_break: str) -> None:
    data = f'{{{line_break}"a": 1}}'.encode()
    assert event("changes", data, "t1") == b'event: changes\nid: t1\ndata: {\ndata: "a": 1}\n\n'


def test_a_raw_object_with_line_breaks_is_written_as_it_is() -> None:
    recipient = types_pb2.Recipient(variables_json=b'{\n"a": 1}')
    assert msgspec.json.encode(encoder(types_pb2.Recipient.DESCRIPTOR)(recipient, "")) == b'{"variables":{\n"a": 1}}'


@pytest.mark.parametrize(("path", "url"), [("/v1/x", "https://p/v1/x"), ("", "")])
def test_only_a_path_becomes_a_url(path: str, url: str) -> None:
    answer = device_registrations_pb2.RegisterDeviceResponse(resource_location=path)
    assert encoder(answer.DESCRIPTOR)(answer, "https://p") == {"resourceId": "", "resourceLocation": url}
