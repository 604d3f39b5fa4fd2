"""What a request's own fields can't mean, whatever is stored: told together with the rules that it breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from google.protobuf.message import Message
from pharos.push.v1 import device_registrations_pb2, push_notifications_pb2

from server.api import filters
from server.api.convert import PROVIDERS
from server.api.problems import Problems
from server.domain.devices import normal_token
from server.domain.errors import Invalid, Violation


def meaningless(request: Message, rules: Iterable[Violation]) -> list[Violation]:
    """Return the rules' violations and, of fields that break no rule, those of their meaning."""
    problems = Problems(rules)
    for check in _checks(request):
        problems.collect(check)
    return problems.violations


def _checks(request: Message) -> Iterable[Callable[[], object]]:
    if "start_date" in request.DESCRIPTOR.fields_by_name:
        yield lambda: filters.period(request)  # type: ignore[arg-type]  # it has the fields
    if isinstance(request, push_notifications_pb2.ListPushNotificationsRequest):
        yield lambda: filters.tags(request.tags)
    if isinstance(request, device_registrations_pb2.RegisterDeviceRequest):
        yield lambda: _token(request)


def _token(request: device_registrations_pb2.RegisterDeviceRequest) -> None:
    provider = PROVIDERS.get(request.provider)
    if provider is not None and normal_token(provider, request.token) is None:
        raise Invalid(Violation("token", "must be hexadecimal for APN"))
