"""Which rules of a contract are served, and how paths are told apart."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from gateway.contract import Binding, Variable, read_contract, read_rpc
from gateway.errors import ApiError
from gateway.routes import Routes


def method_with(rule: http_pb2.HttpRule | None) -> MethodDescriptor:
    """A method of a made-up service, whose request has the field `a`."""
    file = FileDescriptorProto(name="made/up.proto", package="made.up", syntax="proto3")
    message = file.message_type.add(name="M")
    message.field.add(
        name="a", number=1, type=FieldDescriptorProto.TYPE_STRING, label=FieldDescriptorProto.LABEL_OPTIONAL
    )
    method = file.service.add(name="S").method.add(name="Do", input_type=".made.up.M", output_type=".made.up.M")
    if rule is not None:
        method.options.Extensions[annotations_pb2.http].CopyFrom(rule)
    pool = DescriptorPool()
    pool.Add(file)
    return pool.FindServiceByName("made.up.S").methods_by_name["Do"]


def binding(path: str, http_method: str = "GET") -> Binding:
    segments = [Variable(text[1:-1]) if text.startswith("{") else text for text in path[1:].split("/")]
    return Binding(http_method, tuple(segments), body=False, response_field=None)


@pytest.mark.parametrize(
    "rule",
    [
        http_pb2.HttpRule(get="/v1/{a=x/*}"),
        http_pb2.HttpRule(get="/v1/{b}"),
        http_pb2.HttpRule(get="/v1/{a.b}"),
        http_pb2.HttpRule(get="/v1/x:verb"),
        http_pb2.HttpRule(get="/v1/*"),
        http_pb2.HttpRule(get="/v1//x"),
        http_pb2.HttpRule(post="/v1/x", body="a"),
        http_pb2.HttpRule(custom=http_pb2.CustomHttpPattern(kind="HEAD", path="/v1/x")),
        http_pb2.HttpRule(get="/v1/x", additional_bindings=[http_pb2.HttpRule()]),
    ],
)
def test_a_rule_that_is_not_served_is_refused_at_start(rule: http_pb2.HttpRule) -> None:
    with pytest.raises(ValueError, match=r"made\.up\.S\.Do"):
        read_rpc(method_with(rule))


def test_a_rule_and_its_additional_bindings_are_read() -> None:
    rule = http_pb2.HttpRule(
        put="/v1/x/{a}", body="*", additional_bindings=[http_pb2.HttpRule(get="/v1/y", response_body="a")]
    )
    rpc = read_rpc(method_with(rule))
    assert rpc.path == "/made.up.S/Do"
    first, second = rpc.bindings
    assert (first.http_method, first.segments, first.body) == ("PUT", ("v1", "x", Variable("a")), True)
    assert second.response_field is not None
    assert (second.http_method, second.response_field.name) == ("GET", "a")


def test_a_method_without_a_rule_has_no_rest() -> None:
    assert read_rpc(method_with(None)).bindings == ()


def test_every_service_of_the_package_is_found() -> None:
    services = {rpc.method.containing_service.name for rpc in read_contract()}
    assert services >= {"AppService", "DeliveryStatusService", "PushNotificationService", "UserService"}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (b"/v1/a", "literal"),
        (b"/v1/%61", "literal"),
        (b"/v1/b", "variable b"),
        (b"/v1/b%2Fc", "variable b/c"),
        (b"/preview/%C3%A9", "variable \xe9"),
        (b"/v1/a/x", "below literal"),
        (b"/v1/b/x", None),  # only the literal has something below
        (b"/v1/", None),
        (b"/v1", None),
        (b"", None),
    ],
)
def test_a_literal_wins_over_a_variable_for_good(path: bytes, found: str | None) -> None:
    routes: Routes[str] = Routes()
    for template, name in (("/v1/{id}", "variable"), ("/v1/a", "literal"), ("/v1/a/x", "below literal")):
        routes.add(binding(template), name)
    if found is None:
        with pytest.raises(ApiError, match="404"):
            routes.find("GET", path)
    else:
        name, values = routes.find("GET", path)
        assert " ".join([name, *values.values()]) == found


def test_names_of_variables_belong_to_the_method() -> None:
    routes: Routes[str] = Routes()
    routes.add(binding("/v1/{one}"), "get")
    routes.add(binding("/v1/{two}", "PUT"), "put")
    assert routes.find("GET", b"/v1/x") == ("get", {"one": "x"})
    assert routes.find("PUT", b"/v1/x") == ("put", {"two": "x"})


@pytest.mark.parametrize("paths", [["/v2/a"], ["/v1/{a}", "/v1/{b}"]])
def test_a_path_outside_of_the_version_or_taken_is_refused(paths: list[str]) -> None:
    routes: Routes[str] = Routes()
    *first, last = map(binding, paths)
    for one in first:
        routes.add(one, "first")
    with pytest.raises(ValueError, match="v"):
        routes.add(last, "last")


def test_a_nul_in_a_path_is_400() -> None:
    routes: Routes[str] = Routes()
    routes.add(binding("/v1/{id}"), "x")
    with pytest.raises(ApiError) as raised:
        routes.find("GET", b"/v1/a%00")
    assert raised.value.status is HTTPStatus.BAD_REQUEST
