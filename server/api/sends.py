"""A send request's meaning: what its syntax can't say, checked before anything is stored."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec
from pharos.push.v1 import push_notifications_pb2, types_pb2

from server.api.convert import PROVIDERS, id_in_field, moment
from server.api.data_keys import RESERVED, is_reserved
from server.api.overrides import overrides_of
from server.api.problems import Problems
from server.domain.credentials import CredentialType
from server.domain.devices import normal_token
from server.domain.errors import Invalid, Violation
from server.domain.ids import Kind
from server.domain.operations import FARTHEST_SCHEDULE, Message, Recipient
from server.domain.pushes import InterruptionLevel, Presentation, Priority, Provider
from server.domain.templates import ContentSource, TemplateError, TemplateProblem

_Request = push_notifications_pb2.SendPushNotificationRequest
_MOST_VIOLATIONS: Final = 50
_FIELDS: Final = {"clickAction": "click_action"}
_NUL_ESCAPE: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


class Renderer(Protocol):
    """Parses a send's texts. Raises ``TemplateError``."""

    def compile(self, source: ContentSource) -> object: ...


def message(request: _Request, renderer: Renderer) -> Message:
    """Return what all recipients share. Raises ``Invalid``."""
    problems = Problems()
    source = _content(request)
    problems.violations.extend([*_content_problems(request, source), *_template_problems(source, renderer)])
    overrides = problems.collect(lambda: overrides_of(request.overrides))
    problems.raise_any()
    assert overrides is not None  # no problems
    return Message(source, _presentation(request), overrides)


def send_at(request: _Request, now: datetime) -> datetime | None:
    """Return the due time, None for now. Raises ``Invalid`` for one that is too far ahead of ``now``."""
    if not request.HasField("schedule"):
        return None
    wanted = moment(request.schedule.send_at, "schedule.send_at")
    if wanted > now + FARTHEST_SCHEDULE:
        raise Invalid(Violation("schedule.send_at", f"is more than {FARTHEST_SCHEDULE.days} days ahead"))
    return wanted


def recipients(request: _Request) -> list[Recipient]:
    """Return the recipients. Raises ``Invalid`` with the first 50 problems."""
    violations: list[Violation] = []
    found: list[Recipient] = []
    for index, recipient in enumerate(request.to):
        try:
            found.append(_recipient(recipient, f"to[{index}]"))
        except Invalid as error:
            violations.extend(error.violations)
            if len(violations) >= _MOST_VIOLATIONS:
                break
    if violations:
        raise Invalid(*violations)
    return found


def usable_providers(types: frozenset[CredentialType]) -> frozenset[Provider]:
    """Return the providers that these credentials reach."""
    return frozenset(provider for provider in PROVIDERS.values() if types & _TYPES_OF[provider])


def unreachable_tokens(found: Sequence[Recipient], types: frozenset[CredentialType]) -> list[Violation]:
    """Return a problem for each direct token whose provider has no credential among ``types``, at most 50."""
    usable = usable_providers(types)
    if usable == set(PROVIDERS.values()):
        return []
    violations: list[Violation] = []
    for index, recipient in enumerate(found):
        if recipient.provider is not None and recipient.provider not in usable:
            violations.append(
                Violation(f"to[{index}].provider", f"the app has no {recipient.provider.value} credential")
            )
        if len(violations) == _MOST_VIOLATIONS:
            break
    return violations


def _recipient(recipient: types_pb2.Recipient, field: str) -> Recipient:
    variables = _variables(recipient, field)
    if recipient.WhichOneof("target") == "user_id":
        return Recipient(user_id=id_in_field(Kind.USER, recipient.user_id, f"{field}.user_id"), variables=variables)
    provider = PROVIDERS[recipient.provider]
    token = normal_token(provider, recipient.token)
    if token is None:
        raise Invalid(Violation(f"{field}.token", "must be hexadecimal for APN"))
    return Recipient(token=token, provider=provider, variables=variables)


def _variables(recipient: types_pb2.Recipient, field: str) -> str | None:
    """Return the JSON object's text: ``variables_json`` merged over ``variables``."""
    raw = recipient.variables_json
    if not raw and not recipient.variables:
        return None
    try:
        typed = _decode_object(raw) if raw else {}
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = "must be a JSON object, whose numbers a double can hold"
        raise Invalid(Violation(f"{field}.variables_json", text)) from None
    except RecursionError:
        raise Invalid(Violation(f"{field}.variables_json", "is nested too deep")) from None
    if _NUL_ESCAPE.search(raw):
        raise Invalid(Violation(f"{field}.variables_json", "must not contain U+0000"))
    if not recipient.variables:
        return raw.decode()
    return msgspec.json.encode({**recipient.variables, **typed}).decode()


def _content(request: _Request) -> ContentSource:
    content = request.content
    return ContentSource(
        title=content.title if content.HasField("title") else None,
        body=content.body if content.HasField("body") else None,
        subtitle=content.subtitle if content.HasField("subtitle") else None,
        image=request.image if request.HasField("image") else None,
        click_action=request.click_action if request.HasField("click_action") else None,
        data=dict(request.data),
    )


def _content_problems(request: _Request, source: ContentSource) -> Iterator[Violation]:
    if not source.body and not request.content_available:
        yield Violation("content.body", "is required, unless it is a silent push")
    for key in source.data:
        if is_reserved(key):
            yield Violation(f'data["{key}"]', RESERVED)


def _template_problems(source: ContentSource, renderer: Renderer) -> list[Violation]:
    try:
        renderer.compile(source)
    except TemplateError as error:
        return [Violation(_request_field(problem.field), _told(problem)) for problem in error.problems]
    return []


def _told(problem: TemplateProblem) -> str:
    told = f"line {problem.line}, column {problem.column}: {problem.message}"
    return f"{told}, at: {problem.excerpt}" if problem.excerpt else told


def _request_field(template: str) -> str:
    """Return the request's name of a template's field, which counts the data's keys as fields."""
    key = template.removeprefix("data.")
    return f'data["{key}"]' if key != template else _FIELDS.get(template, template)


def _presentation(request: _Request) -> Presentation:
    def text(name: str) -> str | None:
        return getattr(request, name) if request.HasField(name) else None  # type: ignore[arg-type]  # names below

    return Presentation(
        priority=_PRIORITIES[request.priority],
        sound=text("sound"),
        badge=request.badge if request.HasField("badge") else None,
        category=text("category"),
        thread_id=text("thread_id"),
        collapse_key=text("collapse_key"),
        icon=text("icon"),
        color=text("color"),
        channel_id=text("channel_id"),
        interruption_level=_LEVELS[request.interruption_level],
        relevance_score=request.relevance_score if request.HasField("relevance_score") else None,
        mutable_content=request.mutable_content,
        content_available=request.content_available,
    )


_PRIORITIES: Final[Mapping[int, Priority]] = {
    push_notifications_pb2.PRIORITY_UNSPECIFIED: Priority.HIGH,
    push_notifications_pb2.PRIORITY_HIGH: Priority.HIGH,
    push_notifications_pb2.PRIORITY_LOW: Priority.LOW,
}
_LEVELS: Final[Mapping[int, InterruptionLevel | None]] = {
    push_notifications_pb2.INTERRUPTION_LEVEL_UNSPECIFIED: None,
    push_notifications_pb2.INTERRUPTION_LEVEL_PASSIVE: InterruptionLevel.PASSIVE,
    push_notifications_pb2.INTERRUPTION_LEVEL_ACTIVE: InterruptionLevel.ACTIVE,
    push_notifications_pb2.INTERRUPTION_LEVEL_TIME_SENSITIVE: InterruptionLevel.TIME_SENSITIVE,
    push_notifications_pb2.INTERRUPTION_LEVEL_CRITICAL: InterruptionLevel.CRITICAL,
}
_TYPES_OF: Final = {
    PROVIDERS[types_pb2.PROVIDER_FCM]: frozenset({CredentialType.FCM}),
    PROVIDERS[types_pb2.PROVIDER_APN]: frozenset({CredentialType.APN, CredentialType.APN_SANDBOX}),
}
