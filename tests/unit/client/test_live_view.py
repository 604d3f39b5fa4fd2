from __future__ import annotations

import pytest
from rich.console import Console

from client.live_view import BarView, LineView, progress_view


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
