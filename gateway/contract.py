"""What the contract says about REST: every RPC of `pharos.push.v1` with its HTTP methods, paths and options."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from pharos.push.v1 import options_pb2

PACKAGE = "pharos.push.v1"


@dataclass(frozen=True, slots=True)
class Variable:
    """A path segment that fills the request field of this name."""

    field: str


@dataclass(frozen=True, slots=True)
class Binding:
    """One HTTP method and path of an RPC (`google.api.HttpRule`)."""

    http_method: str
    segments: tuple[str | Variable, ...]
    body: bool
    response_field: FieldDescriptor | None

    @property
    def variables(self) -> tuple[str, ...]:
        """Request fields that the path fills, in its order."""
        return tuple(segment.field for segment in self.segments if isinstance(segment, Variable))


@dataclass(frozen=True, slots=True)
class Rpc:
    """One RPC with its REST side."""

    method: MethodDescriptor
    rest: options_pb2.RestMethod
    bindings: tuple[Binding, ...]

    @property
    def path(self) -> str:
        """The name that gRPC calls it by: `/package.Service/Method`."""
        return f"/{self.method.containing_service.full_name}/{self.method.name}"


def read_contract() -> list[Rpc]:
    """Every RPC that has a `google.api.http` option.

    Raises ValueError for a rule that this gateway can't serve, so that it never starts with half a contract.
    """
    return [
        rpc
        for module in _generated_modules()
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if (rpc := read_rpc(method)).bindings
    ]


def message_fields() -> Iterator[FieldDescriptor]:
    """The fields of all the contract's messages."""
    for module in _generated_modules():
        for message in module.DESCRIPTOR.message_types_by_name.values():
            yield from message.fields


def _generated_modules() -> Iterator[ModuleType]:
    for found in pkgutil.iter_modules(import_module(PACKAGE).__path__):
        if found.name.endswith("_pb2"):
            yield import_module(f"{PACKAGE}.{found.name}")


def read_rpc(method: MethodDescriptor) -> Rpc:
    """One RPC, without bindings if REST does not have it. Raises ValueError for a rule that is not served."""
    options = method.GetOptions()
    rules: list[http_pb2.HttpRule] = []
    if options.HasExtension(annotations_pb2.http):
        rule = options.Extensions[annotations_pb2.http]
        rules = [rule, *rule.additional_bindings]
    return Rpc(method, options.Extensions[options_pb2.rest], tuple(_binding(method, rule) for rule in rules))


def _binding(method: MethodDescriptor, rule: http_pb2.HttpRule) -> Binding:
    pattern = rule.WhichOneof("pattern")
    if pattern is None or pattern == "custom" or rule.body not in {"", "*"}:
        message = f"{method.full_name}: only get, put, post, delete, patch and a body of * are served"
        raise ValueError(message)
    return Binding(
        http_method=pattern.upper(),
        segments=tuple(_segment(method, text) for text in getattr(rule, pattern).removeprefix("/").split("/")),
        body=rule.body == "*",
        response_field=method.output_type.fields_by_name[rule.response_body] if rule.response_body else None,
    )


def _segment(method: MethodDescriptor, text: str) -> str | Variable:
    name = text.removeprefix("{").removesuffix("}")
    if text == f"{{{name}}}" and name in method.input_type.fields_by_name:
        return Variable(name)
    if not text or set(text) & set("{}*=:"):
        message = f"{method.full_name}: the path segment {text!r} is not served"
        raise ValueError(message)
    return text
