"""The OpenAPI 3.1 document of the REST API, made from the contract's descriptors and comments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from gateway.comments import comment, comment_of, summary
from gateway.contract import PACKAGE, Binding, Rpc, Variable
from gateway.error_responses import ERROR_SCHEMA, error_references, error_responses
from gateway.event_access import ACCESS_TOKEN, LAST_EVENT_ID
from gateway.examples import BODIES, PATHS
from gateway.json_schema import Schema, Schemas
from gateway.requests import query_fields, taken_by_path
from gateway.routes import VERSIONS
from gateway.schema import JsonField, json_field, json_fields
from gateway.schema_rules import is_required

_ABOUT: Final = """{contract}

Every path exists under `/v1` and, identically, under `/preview`; answers lead to `/v1`. Bodies are JSON in UTF-8.
Unknown fields in a request are refused, and `null` is the same as an absent field. Answers may have more fields in a
later version. Every answer has an `X-Request-Id`. A path that does not have a method answers 405 with `Allow`.
What error codes mean, and what to do about them, is on [a page of its own](docs/errors)."""
_REQUEST_ID: Final = {
    "description": "The request's own id, or the one that the request came with.",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 128},
}
_LOCATION: Final = {
    "description": "Where the new resource is fetched.",
    "required": True,
    "schema": {"type": "string", "format": "uri"},
}
_REPLAYED: Final = {
    "description": "`true` when this is the first answer to an earlier, equal request with the same key.",
    "schema": {"type": "string", "const": "true"},
}
_EVENTS: Final = """One server-sent event; an answer is any number of them. Comments keep the connection alive, and
`Last-Event-ID` goes on
behind the event with this `id`. `retry` comes first, and says in how many milliseconds a lost connection is renewed."""
_IN_URL: Final = "The same as `Last-Event-ID`, for who can't set headers. The header goes before it."
_STREAM_TOKEN: Final = "A stream token: it opens event streams and nothing else."  # noqa: S105 - no token
_OVER: Final = "The event of `Last-Event-ID` was the last one. An EventSource comes back no more."
_FAILED: Final = "Ends a stream that fails once it has begun."


def describe(contract: Iterable[Rpc], public_url: str) -> dict[str, Any]:
    """The document. Its servers are below `public_url`, or below the address it is read from where that is empty."""
    schemas = Schemas()
    paths: dict[str, dict[str, Any]] = {}
    services: dict[str, str] = {}
    for rpc in contract:
        service = rpc.method.containing_service
        services[service.name] = comment(service)
        for number, binding in enumerate(rpc.bindings):
            operation = _Operation(rpc, binding, number, schemas)
            paths.setdefault(operation.path, {})[binding.http_method.lower()] = operation.describe()
    return {
        "openapi": "3.1.1",
        "info": _info(),
        "servers": [{"url": f"{public_url}/{name}"} for name in VERSIONS],
        "security": [{"basic": []}],
        "tags": [{"name": _tag(name), "description": text} for name, text in sorted(services.items())],
        "paths": dict(sorted(paths.items())),
        "components": _components(schemas),
    }


def _info() -> dict[str, Any]:
    return {
        "title": "Pharos",
        "version": version("pharos-push"),
        "description": _ABOUT.format(contract=comment_of(PACKAGE)),
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    }


def _components(schemas: Schemas) -> dict[str, Any]:
    return {
        "schemas": dict(sorted((schemas.named | {"Error": ERROR_SCHEMA}).items())),
        "responses": error_responses(),
        "headers": {"X-Request-Id": _REQUEST_ID, "Location": _LOCATION, "Idempotent-Replayed": _REPLAYED},
        "securitySchemes": {
            "basic": {
                "type": "http",
                "scheme": "basic",
                "description": "An account's id and auth token, or an API key and its secret.",
            },
            "streamToken": {"type": "http", "scheme": "bearer", "description": _STREAM_TOKEN},
            "streamTokenInUrl": {
                "type": "apiKey",
                "in": "query",
                "name": ACCESS_TOKEN,
                "description": f"{_STREAM_TOKEN} In the URL, for who can't set headers.",
            },
        },
    }


def _tag(service_name: str) -> str:
    return service_name.removesuffix("Service")


class _Operation:
    """One binding of an RPC."""

    def __init__(self, rpc: Rpc, binding: Binding, number: int, schemas: Schemas) -> None:
        self._rpc = rpc
        self._method: MethodDescriptor = rpc.method
        self._binding = binding
        self._number = number
        self._schemas = schemas
        self._fields = {known.proto.name: known for known in json_fields(rpc.method.input_type)}
        self._taken = taken_by_path(rpc.method.input_type, binding.variables)
        self._headers = [known for known in self._fields.values() if known.options.header]

    @property
    def path(self) -> str:
        """Below the version, which is the server's."""
        return "".join(f"/{self._segment(segment)}" for segment in self._binding.segments[1:])

    def _segment(self, segment: str | Variable) -> str:
        return segment if isinstance(segment, str) else f"{{{self._fields[segment.field].name}}}"

    def describe(self) -> dict[str, Any]:
        text = comment(self._method)
        operation = {
            "operationId": self._method.name if self._number == 0 else f"{self._method.name}{self._number + 1}",
            "tags": [_tag(self._method.containing_service.name)],
            "summary": summary(text),
            "description": text,
            "parameters": list(self._parameters()),
            "responses": self._successes() | error_references(changing=self._binding.http_method != "GET"),
        }
        if self._method.server_streaming:
            operation["security"] = [{"basic": []}, {"streamToken": []}, {"streamTokenInUrl": []}]
        return operation | ({"requestBody": self._body()} if self._binding.body else {})

    def _parameters(self) -> Iterator[dict[str, Any]]:
        for name in self._binding.variables:
            yield self._parameter("path", self._fields[name]) | {"required": True, "example": PATHS[name]}
        if not self._binding.body:
            for known in query_fields(self._fields.values(), self._taken):
                yield self._parameter("query", known)
        for known in self._headers:
            yield self._parameter("header", known)
            if self._method.server_streaming:
                schema = self._parameter("header", known)["schema"]
                yield {"name": LAST_EVENT_ID, "in": "query", "description": _IN_URL, "schema": schema}

    def _parameter(self, where: str, known: JsonField) -> dict[str, Any]:
        schema = self._schemas.requests.property(known)
        if where == "header":
            schema |= {"minLength": 1}  # an empty header is refused
        parameter = {"name": known.options.header or known.name, "in": where, "description": schema.pop("description")}
        required = {"required": True} if where == "query" and is_required(known.proto) else {}
        return parameter | required | {"schema": schema}

    def _body(self) -> dict[str, Any]:
        schema = self._schemas.requests.body(self._method.input_type, self._taken)
        return {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": BODIES[self._method.name]}},
        }

    def _successes(self) -> dict[str, Any]:
        status = HTTPStatus(self._rpc.rest.success_status or HTTPStatus.OK)
        if self._method.server_streaming:
            over = {"description": _OVER, "headers": _sent()}
            return _answered(status, self._events()) | {str(int(HTTPStatus.NO_CONTENT)): over}
        location = self._location()
        if location is None:
            return _answered(status, _json(self._answer()), *self._replayed())
        if not location.options.omit_empty:
            return _answered(status, _json(self._answer()), *self._replayed(), "Location")
        # What makes nothing leads nowhere: a dry run. Generators of clients read `required` beside `allOf`, and pass it
        # over beside `$ref`.
        made = _json({"allOf": [self._answer()], "required": self._left_out()})
        return _answered(status, made, *self._replayed(), "Location") | _answered(
            HTTPStatus.OK, _json(self._answer()), *self._replayed()
        )

    def _location(self) -> JsonField | None:
        name = self._rpc.rest.location_field
        return json_field(self._method.output_type.fields_by_name[name]) if name else None

    def _left_out(self) -> list[str]:
        """What an answer has only where something was made."""
        fields = json_fields(self._method.output_type)
        return [known.name for known in fields if known.options.omit_empty and not known.proto.has_presence]

    def _replayed(self) -> tuple[str, ...]:
        keyed = any(known.options.header == "Idempotency-Key" for known in self._headers)
        return ("Idempotent-Replayed",) if keyed else ()

    def _answer(self) -> Schema:
        unwrapped = self._binding.response_field
        return self._schemas.answers.message(_message(unwrapped) if unwrapped is not None else self._method.output_type)

    def _events(self) -> dict[str, Any]:
        [choice] = self._method.output_type.oneofs
        kinds = [self._event(case) for case in choice.fields]
        failed = _event("error", _FAILED, {"$ref": "#/components/schemas/Error"})
        return {"text/event-stream": {"schema": {"description": _EVENTS, "oneOf": [*kinds, failed]}}}

    def _event(self, case: FieldDescriptor) -> Schema:
        schema = _event(case.name, comment(case), self._schemas.answers.message(_message(case)))
        schema["properties"]["id"] = {"type": "string", "description": comment(self._id_field)}
        return schema

    @property
    def _id_field(self) -> FieldDescriptor:
        return self._method.output_type.fields_by_name[self._rpc.rest.event_id_field]


def _event(name: str, text: str, data: Schema) -> Schema:
    described = {"type": "string", "contentMediaType": "application/json", "contentSchema": data}
    properties = {"event": {"type": "string", "const": name}, "data": described}
    return {"title": name, "description": text, "type": "object", "properties": properties, "required": [*properties]}


def _message(field: FieldDescriptor) -> Descriptor:
    if field.message_type is None:
        raise TypeError(field.full_name)
    return field.message_type


def _answered(status: HTTPStatus, content: dict[str, Any], *headers: str) -> dict[str, Any]:
    return {str(int(status)): {"description": status.phrase, "headers": _sent(*headers), "content": content}}


def _sent(*headers: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", *headers)}


def _json(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
