"""Whether the stream, the operation's counts and what the providers got tell the same story, recipient by recipient."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pharos.push.v1.operations_pb2 import OperationStats
from pharos.push.v1.types_pb2 import DeliveryStatus

from client.audience import Member
from client.tally import Tally, status_name

_SENT = DeliveryStatus.DELIVERY_STATUS_SENT


@dataclass(frozen=True, slots=True)
class Push:
    """A push that a provider accepted."""

    provider: str
    token: str
    title: str
    body: str

    @classmethod
    def from_ledger(cls, entry: Mapping[str, Any]) -> Self:
        """One entry of the sandbox's ledger; its `body` is the request's: FCM's message, or the APNs payload."""
        sent = entry["body"]
        shown = sent["message"]["notification"] if entry["provider"] == "FCM" else sent["aps"]["alert"]
        return cls(entry["provider"], entry["token"], shown.get("title", ""), shown.get("body", ""))


def differences(
    members: Sequence[Member],
    tally: Tally,
    stats: OperationStats,
    pushes: Sequence[Push],
    duplicates: int,
) -> list[str]:
    """Everything that does not fit, in words; empty when all agrees. `duplicates` is the sandbox's own count."""
    by_token: dict[str, list[Push]] = defaultdict(list)
    for push in pushes:
        by_token[push.token].append(push)
    found = [difference for member in members for difference in _of_member(member, tally, by_token)]
    found += _of_strangers(members, by_token)
    found += _of_counts(len(members), tally, stats)
    found += [f"recipient {index} became final again" for index in tally.repeats]
    if duplicates:
        found.append(f"the providers saw {duplicates} duplicates")
    return found


def _of_member(member: Member, tally: Tally, by_token: Mapping[str, Sequence[Push]]) -> Iterator[str]:
    who = f"recipient {member.number}"
    told = tally.final.get(member.number)
    status = told.status if told else DeliveryStatus.DELIVERY_STATUS_UNSPECIFIED
    got = [push for device in member.devices for push in by_token.get(device.token, ())]
    if status != member.fate:
        yield f"{who} should be {status_name(member.fate)}, the stream says {status_name(status)}"
    if (status == _SENT) != bool(got):
        yield f"{who} is {status_name(status)} in the stream, and {len(got)} pushes were accepted"
    if sorted(push.token for push in got) != sorted(member.reached):
        yield f"{who} should get one push on {len(member.reached)} devices, {len(got)} were accepted"
    for push in got:
        if (push.title, push.body) != member.text:
            yield f"{who} got another text: {push.title!r} {push.body!r}"


def _of_strangers(members: Sequence[Member], by_token: Mapping[str, Sequence[Push]]) -> Iterator[str]:
    known = {device.token for member in members for device in member.devices}
    for token in by_token.keys() - known:
        yield f"a push went to {token[:12]}..., which nobody has"


def _of_counts(recipients: int, tally: Tally, stats: OperationStats) -> Iterator[str]:
    told = tally.by_status()
    expected = {
        "recipients": recipients,
        "total": recipients - told["UNADDRESSABLE"],
        "sent": told["SENT"],
        "failed": told["FAILED"],
        "canceled": told["CANCELED"],
        "unaddressable": told["UNADDRESSABLE"],
        "queued": 0,
        "scheduled": 0,
    }
    for name, count in expected.items():
        if getattr(stats, name) != count:
            yield f"the operation counts {name} as {getattr(stats, name)}, the stream as {count}"
