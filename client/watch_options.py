"""What `pharos watch` was given: whose stream, what of it, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pharos.push.v1.delivery_status_pb2 import WatchDeliveryStatusRequest
from pharos.push.v1.types_pb2 import DeliveryReason, DeliveryStatus, Provider

from client.errors import UsageError
from client.watch_views import JsonLines, RecipientLines, StreamView, account_view, operation_view

Number = TypeVar("Number", bound=int)


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """The options; of the scopes (the first five) exactly one is given."""

    operation_id: str | None = None
    notifications: Sequence[str] = ()
    user_id: str | None = None
    app_name: str | None = None
    account: bool = False
    statuses: Sequence[str] = ()
    providers: Sequence[str] = ()
    reasons: Sequence[str] = ()
    snapshot: bool = True
    as_json: bool = False
    resume_token: str = ""
    exit_status: bool = False

    def request(self) -> WatchDeliveryStatusRequest:
        """The request. Raises UsageError."""
        self._check()
        request = WatchDeliveryStatusRequest(
            push_notification_ids=self.notifications,
            statuses=_numbers("--status", DeliveryStatus.items(), "DELIVERY_STATUS_", self.statuses),
            providers=_numbers("--provider", Provider.items(), "PROVIDER_", self.providers),
            reasons=_numbers("--reason", DeliveryReason.items(), "DELIVERY_REASON_", self.reasons),
            resume_token=self.resume_token,
        )
        for scope in ("operation_id", "user_id", "app_name"):
            if (value := getattr(self, scope)) is not None:
                setattr(request, scope, value)
        if not self.snapshot:
            request.snapshot = False
        return request

    def view(self) -> StreamView:
        """How it is shown: by what there is most to see in."""
        if self.as_json:
            return JsonLines()
        if self.notifications or self.user_id is not None or not self._is_whole():
            return RecipientLines()
        return account_view() if self.operation_id is None else operation_view()

    def _is_whole(self) -> bool:
        """Whether every recipient of the scope is told of, so that they can be counted."""
        return self.snapshot and not (self.statuses or self.providers or self.reasons)

    def _check(self) -> None:
        scopes = (self.operation_id is not None, self.user_id is not None, self.app_name is not None)
        if sum((*scopes, bool(self.notifications), self.account)) != 1:
            raise UsageError("give either an operation, --notification, --user, --app or --account")
        if self.resume_token and not self.as_json:
            raise UsageError("--resume-token goes with --json: the other views count from the beginning")
        if self.exit_status and self.operation_id is None:
            raise UsageError("--exit-status goes with an operation: of the others not all recipients are known")


def _numbers(option: str, names: Iterable[tuple[str, Number]], prefix: str, words: Sequence[str]) -> Iterator[Number]:
    """What the words stand for, as `sent` or `SENT` for SENT. Raises UsageError."""
    known = {name.removeprefix(prefix): number for name, number in names if number}
    for word in words:
        if word.upper() not in known:
            raise UsageError(f"{option} {word!r} is none of {', '.join(known)}")
        yield known[word.upper()]
