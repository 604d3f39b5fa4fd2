from __future__ import annotations

import pytest
from pharos.push.v1.operations_pb2 import Operation, OperationStatus
from rich.console import Console

from client.live_view import AccountView, BarView, LineView, progress_view


def test_without_a_terminal_there_is_a_line_for_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_view("sending") as view:
        for done in range(1_001):
            view.show(done, 1_000, f"SENT {done}")

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "sending 0/1000 SENT 0"
    assert lines[-1] == "sending 1000/1000 SENT 1000"
    assert len(lines) == 11


def test_a_total_that_is_not_known_yet_is_left_open(capsys: pytest.CaptureFixture[str]) -> None:
    with LineView("sending") as view:
        view.show(0, 0)

    assert capsys.readouterr().out == "sending 0/?\n"


def test_on_a_terminal_there_is_a_bar() -> None:
    console = Console(record=True, force_terminal=True, width=100)

    with BarView("sending", console) as view:
        view.show(10, 10, "SENT 10")

    shown = console.export_text()
    assert "10/10" in shown
    assert "SENT 10" in shown


def test_on_a_terminal_the_account_is_a_table_of_the_operations_that_changed_last() -> None:
    console = Console(record=True, force_terminal=True, width=160)

    with AccountView(console) as view:
        for number in (*range(30), 15):
            operation = Operation(id=f"operation-{number}", status=OperationStatus.OPERATION_STATUS_PROCESSING)
            operation.stats.sent = number
            view.show(operation)

    rows = [line.split("│")[1].strip() for line in console.export_text().splitlines() if "PROCESSING" in line]
    assert rows[-20:] == [
        "operation-15",
        *(f"operation-{n}" for n in range(29, 15, -1)),
        *(f"operation-{n}" for n in (14, 13, 12, 11, 10)),
    ]
