from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import __main__ as command
from tests.benchmarks import report
from tests.benchmarks.figure import Figure, Sizes
from tests.benchmarks.judging import MismatchError
from tests.benchmarks.programs import NotMeasuredError

Replace = Callable[[str, Callable[[Sizes], Coroutine[Any, Any, Figure]]], None]


async def worked(sizes: Sizes) -> Figure:
    return Figure({"accept_cpu_s_per_10k": 0.1, "accept_grpc_cpu_s_per_10k": float(sizes.accepts)}, {}, {}, [])


async def disagreed(sizes: Sizes) -> Figure:
    raise MismatchError(f"{sizes.rounds} pushes lost")


async def had_nothing(sizes: Sizes) -> Figure:
    raise NotMeasuredError(f"nginx is not installed, for {sizes.rounds} rounds")


@pytest.fixture
def replace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Replace:
    """Puts another measurement in a figure's place; what is saved goes to a folder of the test."""
    monkeypatch.setattr(report, "FOLDER", tmp_path / "benchmarks")
    monkeypatch.setattr(report, "PAGE", tmp_path / "benchmarks.md")
    monkeypatch.setattr(report, "ROOT", tmp_path)

    def replaced(name: str, measure: Callable[[Sizes], Coroutine[Any, Any, Figure]]) -> None:
        monkeypatch.setitem(command.FIGURES, name, (measure, command.FIGURES[name][1]))

    return replaced


def saved() -> report.Report:
    [path] = report.FOLDER.glob("*.json")
    found = report.load(path.stem)
    assert found is not None
    return found


def test_a_figure_is_printed_and_saved(replace: Replace, capsys: pytest.CaptureFixture[str]) -> None:
    replace("accept", worked)
    assert command.main(["accept", "--save"]) == 0
    assert "| reached" in capsys.readouterr().out
    assert saved().ratios["accept_cpu_s_per_10k"] == 0.1
    assert saved().ratios["accept_grpc_cpu_s_per_10k"] == 10.0  # the sizes of a full run


def test_a_mismatch_fails_the_bench_and_is_not_saved(replace: Replace, capsys: pytest.CaptureFixture[str]) -> None:
    replace("accept", disagreed)
    assert command.main(["accept", "--save"]) == 1
    assert "not measured: failed: 5 pushes lost" in capsys.readouterr().out
    assert not report.FOLDER.exists()


def test_a_failure_of_one_figure_leaves_the_others(replace: Replace, capsys: pytest.CaptureFixture[str]) -> None:
    replace("connection", disagreed)
    replace("accept", worked)
    assert command.main(["connection", "accept", "--save"]) == 1
    assert saved().figures.keys() == {"accept"}
    assert "5 pushes lost" in capsys.readouterr().out


def test_what_is_not_installed_is_named(replace: Replace) -> None:
    replace("connection", had_nothing)
    assert command.main(["connection", "--save"]) == 0
    assert saved().reasons["connection_vs_h2load"] == "not measured: nginx is not installed, for 5 rounds"


def test_later_figures_join_those_of_the_day(replace: Replace) -> None:
    replace("accept", worked)
    replace("latency", had_nothing)
    command.main(["latency", "--save"])
    command.main(["accept", "--save"])
    assert list(saved().figures) == ["accept", "latency"]  # in the order of the report


def test_a_quick_run_says_so_and_is_not_saved(replace: Replace, capsys: pytest.CaptureFixture[str]) -> None:
    replace("accept", worked)
    assert command.main(["accept", "--quick"]) == 0
    assert capsys.readouterr().out.startswith("QUICK")
    with pytest.raises(SystemExit):
        command.main(["accept", "--quick", "--save"])
    assert not report.FOLDER.exists()
