"""What a status stream has said so far about one operation, added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pharos.push.v1.delivery_status_pb2 import RecipientStatus, WatchDeliveryStatusResponse
from pharos.push.v1.operations_pb2 import Operation
from pharos.push.v1.types_pb2 import DeliveryReason, DeliveryStatus

_PASSING = frozenset(
    {
        DeliveryStatus.DELIVERY_STATUS_UNSPECIFIED,
        DeliveryStatus.DELIVERY_STATUS_SCHEDULED,
        DeliveryStatus.DELIVERY_STATUS_QUEUED,
    }
)


def status_name(status: DeliveryStatus.ValueType) -> str:
    """The status as REST and people write it: `SENT`."""
    return name_of(DeliveryStatus.items(), status, "DELIVERY_STATUS_")


def reason_name(reason: DeliveryReason.ValueType) -> str:
    """The reason as REST and people write it; empty for none."""
    return name_of(DeliveryReason.items(), reason, "DELIVERY_REASON_") if reason else ""


def name_of(names: Iterable[tuple[str, int]], number: int, prefix: str) -> str:
    """An enum's short name; the number where a newer service has one that is not known here."""
    return next((name.removeprefix(prefix) for name, known in names if known == number), str(number))


class Tally:
    """Folds the messages of one operation's stream.

    `final`: the final status of each recipient, by its index. `repeats`: indexes that became final more than once,
    which the stream promises not to happen.
    """

    def __init__(self) -> None:
        self.operation = Operation()
        self.final: dict[int, RecipientStatus] = {}
        self.repeats: list[int] = []
        self.ended = False

    def add(self, message: WatchDeliveryStatusResponse) -> None:
        match message.WhichOneof("message"):
            case "snapshot":
                self._learn(message.snapshot.operation)
                self._settle(message.snapshot.recipients)
            case "changes":
                for operation in message.changes.operations:
                    self._learn(operation)
                self._settle(message.changes.recipients)
            case "end":
                self._learn(message.end.operation)
                self.ended = True

    @property
    def recipients(self) -> int:
        """How many recipients the operation has; 0 while that is not known."""
        return self.operation.stats.recipients

    def by_status(self) -> Counter[str]:
        return Counter(status_name(recipient.status) for recipient in self.final.values())

    def by_reason(self) -> Counter[str]:
        """Counts of those that did not get the push."""
        reasons = Counter(reason_name(recipient.reason) for recipient in self.final.values())
        del reasons[""]
        return reasons

    def _learn(self, operation: Operation) -> None:
        if operation.id:
            self.operation = operation

    def _settle(self, recipients: Iterable[RecipientStatus]) -> None:
        for recipient in recipients:
            if recipient.status in _PASSING:
                continue
            if recipient.recipient_index in self.final:
                self.repeats.append(recipient.recipient_index)
            self.final[recipient.recipient_index] = recipient
