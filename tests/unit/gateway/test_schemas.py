"""Comments and rules of the contract, as the OpenAPI document takes them."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module

import pytest
from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor, ServiceDescriptor

from gateway.comments import comment_of, summary
from gateway.contract import PACKAGE
from gateway.schema_rules import byte_limit, keywords

Rules = validate_pb2.FieldRules


def names() -> Iterator[str]:
    """The full names of everything in the contract."""
    for found in pkgutil.iter_modules(import_module(PACKAGE).__path__):
        if found.name.endswith("_pb2"):
            file: FileDescriptor = import_module(f"{PACKAGE}.{found.name}").DESCRIPTOR
            yield from _names_of_messages(file.message_types_by_name.values())
            yield from _names_of_enums(file.enum_types_by_name.values())
            yield from _names_of_services(file.services_by_name.values())


def _names_of_messages(messages: Iterator[Descriptor]) -> Iterator[str]:
    for message in messages:
        yield message.full_name
        yield from (field.full_name for field in message.fields)
        yield from (oneof.full_name for oneof in message.oneofs if not oneof.name.startswith("_"))


def _names_of_enums(enums: Iterator[EnumDescriptor]) -> Iterator[str]:
    for enum in enums:
        yield enum.full_name
        yield from (f"{enum.full_name}.{value.name}" for value in enum.values)


def _names_of_services(services: Iterator[ServiceDescriptor]) -> Iterator[str]:
    for service in services:
        yield service.full_name
        yield from (method.full_name for method in service.methods)


def test_everything_in_the_contract_has_its_comment() -> None:
    found = list(names())
    assert len(found) > 400
    for name in found:
        assert comment_of(name).strip(), name


def test_comments_name_fields_as_rest_has_them() -> None:
    assert "`pageToken` of the next page" in comment_of(f"{PACKAGE}.Pagination.next")
    assert "`Idempotency-Key` inside" in comment_of(f"{PACKAGE}.BatchRegisterDevicesRequest.registrations")
    assert "`push_notification_app`" in comment_of(f"{PACKAGE}.RelatedResource.name")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fetches a user, also a deleted one.", "Fetches a user, also a deleted one"),
        ("Two of 1.5 MiB.\nThe rest.", "Two of 1.5 MiB"),
        ("Streams changes: first these.\n\nGuarantees:\n- ordered", "Streams changes"),
    ],
)
def test_a_summary_is_the_first_sentence(text: str, expected: str) -> None:
    assert summary(text) == expected


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (Rules(), {}),
        (Rules(string={"min_len": 1, "max_len": 9}), {"minLength": 1, "maxLength": 9}),
        (Rules(string={"max_bytes": 9}), {"maxLength": 9}),
        (Rules(string={"pattern": "^a$"}), {"pattern": "^a$"}),
        (
            Rules(string={"pattern": "^a$"}, ignore=validate_pb2.IGNORE_IF_ZERO_VALUE),
            {"minLength": 1, "pattern": "^a$"},
        ),
        (Rules(string={"max_len": 9}, ignore=validate_pb2.IGNORE_IF_ZERO_VALUE), {"minLength": 1, "maxLength": 9}),
        (Rules(int32={"gte": 0, "lte": 5}), {"minimum": 0, "maximum": 5}),
        (Rules(double={"gte": 0.0}), {"minimum": 0.0}),
        (Rules(repeated={"min_items": 1, "max_items": 2}), {"minItems": 1, "maxItems": 2}),
        (
            Rules(map={"max_pairs": 3, "keys": {"string": {"pattern": "^k$"}}, "values": {"string": {"min_len": 1}}}),
            {"maxProperties": 3, "propertyNames": {"pattern": "^k$"}},
        ),
        (Rules(bytes={"max_len": 9}), {}),
    ],
)
def test_rules_are_keywords(rules: Rules, expected: dict[str, object]) -> None:
    assert keywords(rules) == expected


def test_a_rule_that_the_document_would_leave_out_is_refused() -> None:
    for rules in (Rules(string={"email": True}), Rules(int32={"gt": 0}), Rules(repeated={"unique": True})):
        with pytest.raises(ValueError, match="no JSON Schema for"):
            keywords(rules)


def test_limits_in_bytes_are_told_in_words() -> None:
    assert byte_limit(Rules(string={"max_bytes": 9})) == 9
    assert byte_limit(Rules(bytes={"max_len": 8})) == 8
    assert byte_limit(Rules(string={"max_len": 7})) == 0
