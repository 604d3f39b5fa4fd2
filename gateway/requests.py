"""One REST request into the request message of its RPC: path, query, headers and body."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from starlette.datastructures import Headers
from starlette.requests import Request

from gateway.body import read_body
from gateway.contract import Binding
from gateway.decode import BodyDecoder, MalformedError, Member, choice_problems
from gateway.errors import Problem, invalid
from gateway.schema import JsonField, json_fields, oneofs
from gateway.settings import Settings

_MAX_PARAMETERS = 200  # those of a stream of 100 push notifications, with all filters, are 133
# What the rules between fields (CEL) say, by their id: a list that goes with no case of the message's oneof.
_EXCLUDED: Final = {"watch.scope": "push_notification_ids"}


class RequestError(Exception):
    """A malformed request. ``sound`` is what of it can still be held against the rules, and nothing else."""

    def __init__(self, malformed: MalformedError, sound: Message) -> None:
        super().__init__(str(malformed))
        self.malformed = malformed
        self.sound = sound


class RequestReader:
    """Reads the requests of one binding."""

    def __init__(self, message: Descriptor, binding: Binding, settings: Settings) -> None:
        self._settings = settings
        self._message = GetMessageClass(message)
        known = {field.proto.name: field for field in json_fields(message)}
        taken = taken_by_path(message, binding.variables)
        self._path = {name: Member.of(known[name]) for name in binding.variables}
        self._headers = {field.options.header: Member.of(field) for field in known.values() if field.options.header}
        self._query = {} if binding.body else _members(query_fields(known.values(), taken))
        self._body = BodyDecoder(message, taken if binding.body else known)
        self._oneofs = oneofs(message)
        self._needs_body = binding.body
        self._ignores_body = binding.http_method == "GET"

    async def read(self, request: Request, variables: Mapping[str, str]) -> Message:
        """The request message. Raises RequestError, and ApiError 400, 408, 413 or 415."""
        problems: list[Problem] = []
        arguments = _read_path(self._path, variables, problems)
        arguments |= self._read_query(request.scope["query_string"], problems)
        arguments |= _read_headers(self._headers, request.headers, problems)
        try:
            arguments |= await self._read_body(request)
        except MalformedError as malformed:
            arguments |= malformed.sound
            problems.extend(malformed.problems)
        message = self._message(**arguments)
        if problems:
            raise RequestError(MalformedError(problems), message)
        return message

    def _read_query(self, query: bytes, problems: list[Problem]) -> dict[str, Any]:
        parameters = _parameters(query)
        problems.extend(choice_problems(self._query, self._oneofs, dict(parameters), None))
        return _read_parameters(self._query, parameters, problems)

    async def _read_body(self, request: Request) -> dict[str, Any]:
        if self._ignores_body:
            return {}
        body = await read_body(request, self._settings)
        if not body and self._needs_body:
            raise invalid([Problem("The body is empty; it should be a JSON object", "$")])
        return self._body.decode(body) if body else {}


def call_metadata(request: Request, authorization: str) -> tuple[tuple[str, str], ...]:
    """What every call carries along."""
    return (("authorization", authorization), ("x-request-id", request.state.request_id))


def taken_by_path(message: Descriptor, variables: Iterable[str]) -> set[str]:
    """Fields that the path decides: its variables, what shares a oneof with one of them, and what goes with no case."""
    taken = set(variables)
    for name in variables:
        group = message.fields_by_name[name].containing_oneof
        if group is not None:
            taken |= {field.name for field in group.fields} | _beside_oneof(message)
    return taken


def _beside_oneof(message: Descriptor) -> set[str]:
    rules = message.GetOptions().Extensions[validate_pb2.message].cel
    return {_EXCLUDED[rule.id] for rule in rules if rule.id in _EXCLUDED}


def query_fields(fields: Iterable[JsonField], taken: Collection[str]) -> list[JsonField]:
    """Fields that are query parameters where there is no body: words, and lists of words."""
    left = [field for field in fields if field.proto.name not in taken and not field.options.header]
    return [field for field in left if not field.is_map and Member.of(field).value.is_word]


def _members(fields: Iterable[JsonField]) -> dict[str, Member]:
    return {field.name: Member.of(field) for field in fields}


def _read_path(members: Mapping[str, Member], variables: Mapping[str, str], problems: list[Problem]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in variables.items():
        _read_text(members[name], text, f"$.{members[name].name}", found, problems)
    return found


def _read_parameters(
    members: Mapping[str, Member], parameters: Iterable[tuple[str, str]], problems: list[Problem]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, text in parameters:
        member = members.get(key)
        if member is None:
            problems.append(Problem(f"Unknown query parameter `{key[:100]}`"))
        elif member.kind == "one" and member.proto_name in found:
            problems.append(Problem(f"The query parameter `{key}` is given twice", f"$.{key}"))
        else:
            _read_text(member, text, f"$.{key}", found, problems)
    return found


def _parameters(query: bytes) -> list[tuple[str, str]]:
    try:
        pairs = parse_qsl(query.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS)
    except ValueError:
        raise invalid([Problem("The query string is not valid")]) from None
    if any("\0" in key or "\0" in text for key, text in pairs):
        raise invalid([Problem("The character U+0000 is not allowed")])
    return pairs


def _read_headers(members: Mapping[str, Member], headers: Headers, problems: list[Problem]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for header, member in members.items():
        texts = headers.getlist(header)
        if len(texts) > 1 or texts == [""]:
            problems.append(Problem(f"{header}: expected one value, not empty"))
        elif texts:
            _read_text(member, texts[0], None, found, problems)
    return found


def _read_text(member: Member, text: str, context: str | None, found: dict[str, Any], problems: list[Problem]) -> None:
    try:
        value = member.value.from_text(text)
    except ValueError as error:
        problems.append(Problem(str(error), context))
        return
    if member.kind == "list":
        found.setdefault(member.proto_name, []).append(value)
    else:
        found[member.proto_name] = value
