from __future__ import annotations

import io
import json

import grpc
import pytest
from pharos.push.v1.delivery_status_pb2 import (
    DevicesRemoved,
    RecipientStatus,
    StatusChanges,
    StatusEnd,
    StatusSnapshot,
    WatchDeliveryStatusResponse,
)
from pharos.push.v1.operations_pb2 import Operation, OperationStatus
from pharos.push.v1.types_pb2 import DeliveryReason, DeliveryStatus
from rich.console import Console

from client.errors import UnavailableError
from client.watch_views import (
    AccountLines,
    AccountTable,
    JsonLines,
    OperationLines,
    OperationTable,
    RecipientLines,
    account_view,
    operation_view,
)

OPERATION_ID = "comms_operation_01h455vb4pex5vsknk084sn02q"
LOST = UnavailableError(grpc.StatusCode.UNAVAILABLE, "restarting")


def operation(recipients: int) -> Operation:
    made = Operation(id="o", status=OperationStatus.OPERATION_STATUS_PROCESSING)
    made.stats.recipients = recipients
    return made


def changes(*recipients: RecipientStatus) -> WatchDeliveryStatusResponse:
    return WatchDeliveryStatusResponse(changes=StatusChanges(recipients=recipients))


def terminal(width: int = 120) -> Console:
    return Console(record=True, force_terminal=True, width=width, file=io.StringIO())


def test_an_operation_is_a_bar_and_a_table_of_what_became_of_its_recipients(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console = terminal()
    sent = (RecipientStatus(recipient_index=n, status=DeliveryStatus.DELIVERY_STATUS_SENT) for n in range(3))
    failed = RecipientStatus(recipient_index=3, status=DeliveryStatus.DELIVERY_STATUS_FAILED)
    failed.reason = DeliveryReason.DELIVERY_REASON_UNREGISTERED
    completed = operation(4)
    completed.status = OperationStatus.OPERATION_STATUS_COMPLETED

    with OperationTable(console) as view:
        view.show(WatchDeliveryStatusResponse(snapshot=StatusSnapshot(operation=operation(4))))
        view.show(changes(*sent, failed))
        view.show(WatchDeliveryStatusResponse(end=StatusEnd(operation=completed)))

    words = [line.split() for line in console.export_text().splitlines()]
    assert ["SENT", "3"] in words
    assert ["FAILED", "1"] in words
    assert ["UNREGISTERED", "1"] in words
    assert any({"delivering", "100%", "4/4"} <= set(line) for line in words)
    assert capsys.readouterr().out.splitlines()[-2:] == ["o COMPLETED: SENT 3  FAILED 1", "reasons: UNREGISTERED 1"]


def test_a_lost_stream_is_shown_until_something_is_heard() -> None:
    lost, found = terminal(), terminal()

    with OperationTable(lost) as view:
        view.lost(LOST)
    with OperationTable(found) as view:
        view.lost(LOST)
        view.show(changes())

    assert "the stream was lost, going on: UNAVAILABLE: restarting" in lost.export_text()
    assert "lost" not in found.export_text().splitlines()[-1]


def test_the_account_is_a_table_of_the_operations_that_changed_last() -> None:
    console = terminal()

    with AccountTable(console) as view:
        for number in (*range(30), 15):
            changed = Operation(id=f"operation-{number}", status=OperationStatus.OPERATION_STATUS_PROCESSING)
            view.show(WatchDeliveryStatusResponse(changes=StatusChanges(operations=[changed])))

    rows = [line.split()[0] for line in console.export_text().splitlines() if "PROCESSING" in line]
    assert rows[-20:] == [
        "operation-15",
        *(f"operation-{n}" for n in range(29, 15, -1)),
        *(f"operation-{n}" for n in (14, 13, 12, 11, 10)),
    ]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_an_operations_id_and_counts_can_be_read_on_a_narrow_terminal(width: int) -> None:
    console = terminal(width)
    changed = Operation(id=OPERATION_ID, status=OperationStatus.OPERATION_STATUS_PROCESSING)
    changed.stats.recipients, changed.stats.sent, changed.stats.unaddressable = 10_000, 9_000, 17

    with AccountTable(console) as view:
        view.show(WatchDeliveryStatusResponse(changes=StatusChanges(operations=[changed])))

    shown = " ".join(console.export_text().split())
    assert f"{OPERATION_ID} PROCESSING recipients 10000 sent 9000 unaddressable 17" in shown


def test_the_last_news_stand_above_the_operations() -> None:
    console = terminal()

    with AccountTable(console) as view:
        for number in range(7):
            removed = DevicesRemoved(operation_id=f"o{number}", app_name="[shop]")
            view.show(WatchDeliveryStatusResponse(changes=StatusChanges(devices_removed=[removed])))

    shown = console.export_text().splitlines()
    assert [line.strip() for line in shown if "removed" in line][-5:] == [
        f"o{number} removed dead devices from app [shop]: 0" for number in range(2, 7)
    ]


def test_recipients_are_a_line_each_with_the_end_of_the_operation(capsys: pytest.CaptureFixture[str]) -> None:
    failed = RecipientStatus(push_notification_id="n", status=DeliveryStatus.DELIVERY_STATUS_FAILED)
    done = operation(3)
    done.status = OperationStatus.OPERATION_STATUS_COMPLETED

    with RecipientLines() as view:
        view.show(WatchDeliveryStatusResponse(snapshot=StatusSnapshot(recipients=[failed])))
        view.show(changes(failed))
        view.show(WatchDeliveryStatusResponse(end=StatusEnd(operation=done)))
        view.show(WatchDeliveryStatusResponse(end=StatusEnd()))

    assert capsys.readouterr().out.splitlines() == ["n FAILED", "n FAILED", "o COMPLETED  recipients 3"]


def test_what_a_failure_says_is_shown_as_it_is() -> None:
    console = terminal()

    with OperationTable(console) as view:
        view.lost(UnavailableError(grpc.StatusCode.UNAVAILABLE, "[bold]no[/bold] route [/tmp/socket]"))

    assert "[bold]no[/bold] route [/tmp/socket]" in console.export_text()


def test_a_terminal_that_draws_nothing_anew_or_is_too_narrow_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, to rich
    assert isinstance(operation_view(), OperationTable)
    assert isinstance(account_view(), AccountTable)
    monkeypatch.setenv("COLUMNS", "40")
    assert isinstance(account_view(), AccountLines)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(operation_view(), OperationLines)
    assert isinstance(account_view(), AccountLines)


@pytest.mark.parametrize("text", ["Zoë", "two\u2028lines", "\x9b2J"])
def test_a_line_of_json_is_ascii_which_every_output_can_take(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with JsonLines() as view:
        view.show(WatchDeliveryStatusResponse(changes=StatusChanges(operations=[Operation(id=text)])))

    line = capsys.readouterr().out
    assert line.isascii()
    assert json.loads(line)["data"]["operations"][0]["id"] == text


def test_programs_get_lost_streams_told_apart_from_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with JsonLines() as view:
        view.lost(LOST)
        view.show(WatchDeliveryStatusResponse(end=StatusEnd(), resume_token="t"))

    shown = capsys.readouterr()
    assert shown.out == '{"event":"end","resumeToken":"t","data":{}}\n'
    assert shown.err == "pharos: the stream was lost, going on: UNAVAILABLE: restarting\n"
