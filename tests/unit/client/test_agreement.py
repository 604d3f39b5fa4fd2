from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from pharos.push.v1.delivery_status_pb2 import RecipientStatus, StatusChanges, WatchDeliveryStatusResponse
from pharos.push.v1.operations_pb2 import OperationStats
from pharos.push.v1.types_pb2 import DeliveryStatus, Provider

from client.agreement import Push, differences
from client.audience import Member, make_audience, send_request
from client.tally import Tally


class Run:
    """A demo in which everything went as it should."""

    def __init__(self, recipients: int = 100) -> None:
        self.members = make_audience(recipients)
        self.pushes = [
            Push("FCM" if device.provider == Provider.PROVIDER_FCM else "APN", device.token, *member.text)
            for member in self.members
            for device in member.devices
            if device.token in member.reached
        ]
        self.statuses = [RecipientStatus(recipient_index=m.number, status=m.fate) for m in self.members]
        fates = [member.fate for member in self.members]
        self.stats = OperationStats(
            recipients=recipients,
            sent=fates.count(DeliveryStatus.DELIVERY_STATUS_SENT),
            failed=fates.count(DeliveryStatus.DELIVERY_STATUS_FAILED),
            unaddressable=fates.count(DeliveryStatus.DELIVERY_STATUS_UNADDRESSABLE),
        )
        self.stats.total = recipients - self.stats.unaddressable
        self.duplicates = 0

    def differences(self) -> list[str]:
        tally = Tally()
        tally.add(WatchDeliveryStatusResponse(changes=StatusChanges(recipients=self.statuses)))
        return differences(self.members, tally, self.stats, self.pushes, self.duplicates)

    def of(self, *states: str, is_user: bool = False) -> Member:
        return next(m for m in self.members if m.states == states and m.is_user == is_user and not m.gives_phone_away)


@pytest.mark.parametrize("recipients", [100, 1_000, 10_000])
def test_a_run_without_fault_agrees(recipients: int) -> None:
    assert Run(recipients).differences() == []


def lose_a_push(run: Run) -> None:
    run.pushes.remove(next(push for push in run.pushes if push.token in run.of("live").reached))


def push_twice(run: Run) -> None:
    run.pushes.append(run.pushes[-1])


def swap_names(run: Run) -> None:
    run.pushes[0] = replace(run.pushes[0], body=run.pushes[1].body)


def push_to_a_dead_device(run: Run) -> None:
    member = run.of("dead")
    run.pushes.append(Push("FCM", member.devices[0].token, *member.text))


def push_to_a_stranger(run: Run) -> None:
    run.pushes.append(Push("FCM", "nobody", "t", "b"))


def miss_one_of_two_devices(run: Run) -> None:
    token = run.of("live", "live", is_user=True).devices[1].token
    run.pushes = [push for push in run.pushes if push.token != token]


def forget_a_status(run: Run) -> None:
    del run.statuses[50]


def repeat_a_status(run: Run) -> None:
    run.statuses.append(run.statuses[0])


def tell_a_wrong_status(run: Run) -> None:
    run.statuses[run.of("live").number].status = DeliveryStatus.DELIVERY_STATUS_FAILED


def miscount(run: Run) -> None:
    run.stats.sent -= 1


def see_duplicates(run: Run) -> None:
    run.duplicates = 1


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (lose_a_push, "is SENT in the stream, and 0 pushes were accepted"),
        (push_twice, "should get one push on 1 devices, 2 were accepted"),
        (swap_names, "got another text"),
        (push_to_a_dead_device, "is FAILED in the stream, and 1 pushes were accepted"),
        (push_to_a_stranger, "which nobody has"),
        (miss_one_of_two_devices, "should get one push on 2 devices, 1 were accepted"),
        (forget_a_status, "the stream says UNSPECIFIED"),
        (repeat_a_status, "became final again"),
        (tell_a_wrong_status, "should be SENT, the stream says FAILED"),
        (miscount, "the operation counts sent as"),
        (see_duplicates, "the providers saw 1 duplicates"),
    ],
)
def test_every_fault_is_told(fault: Callable[[Run], None], told: str) -> None:
    run = Run()

    fault(run)

    assert any(told in difference for difference in run.differences())


def test_the_audience_is_mixed_and_no_two_devices_or_names_are_alike() -> None:
    members = make_audience(10_000)

    tokens = [device.token for member in members for device in member.devices]
    assert len(set(tokens)) == len(tokens)
    assert len({member.name for member in members}) == 10_000
    assert sum(member.is_user for member in members) == 4_000
    for provider in (Provider.PROVIDER_FCM, Provider.PROVIDER_APN):
        devices = [pair for m in members for pair in zip(m.devices, m.states, strict=True)]
        states = [state for device, state in devices if device.provider == provider]
        assert len(states) > 5_000
        assert set(states) == {"live", "dead", "invalid", "flaky"}
    assert all(bytes.fromhex(d.token) for m in members for d in m.devices if d.provider == Provider.PROVIDER_APN)


def test_the_request_addresses_users_by_id_and_the_others_by_token() -> None:
    members = make_audience(100)
    for member in members:
        if member.is_user:
            member.user_id = f"user-{member.number}"

    request = send_request(members)

    assert [to.user_id for to in request.to[:40]] == [f"user-{number}" for number in range(40)]
    assert all(to.token and to.provider for to in request.to[40:])
    assert request.to[41].variables["name"] == members[41].name


def test_the_ledgers_entries_are_read_for_both_providers() -> None:
    fcm = {"provider": "FCM", "token": "t", "body": {"message": {"notification": {"title": "T", "body": "B"}}}}
    apn = {"provider": "APN", "token": "00", "body": {"aps": {"alert": {"title": "T", "body": "B"}}}}

    assert [Push.from_ledger(entry) for entry in (fcm, apn)] == [
        Push("FCM", "t", "T", "B"),
        Push("APN", "00", "T", "B"),
    ]
