from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import report
from tests.benchmarks.__main__ import FIGURES
from tests.benchmarks.figure import Figure, Sizes, Table
from tests.benchmarks.report import BY_HAND, Report, Section

# What the readers of the reports rely on.
KEYS = {
    "connection_vs_h2load",
    "connection_vs_aioapns",
    "connection_vs_httpx",
    "end_to_end_cpu_s_per_10k",
    "end_to_end_vs_aioapns",
    "accept_cpu_s_per_10k",
    "growth_1m",
}
SAVED = sorted(report.FOLDER.glob("*.json"))


def a_section(ratios: dict[str, float | None], reasons: dict[str, str]) -> Section:
    table = Table("A title", ["", "sum"], [["REST", "0.123"]], ["a note"])
    figure = Figure(ratios, reasons, {"raw": [0.123456789]}, [table])
    return Section("2026-01-02T03:04:05+00:00", "abc", 12.0, (0.5, 1.5), Sizes(), figure)


def a_report(ratios: dict[str, float | None], reasons: dict[str, str] | None = None) -> Report:
    machine: dict[str, Any] = {"cpu": "Some CPU", "cores": 2}
    sections = {"accept": a_section(ratios, reasons or {})}
    return report.report("2026-01-02", machine, {"h2load": None, "nginx": "1.22.1"}, sections)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report, "FOLDER", tmp_path / "benchmarks")
    monkeypatch.setattr(report, "PAGE", tmp_path / "benchmarks.md")
    return tmp_path


def test_every_key_is_there_and_what_was_not_run_says_so() -> None:
    made = a_report({"accept_cpu_s_per_10k": 0.14})
    assert made.ratios.keys() >= KEYS
    assert made.ratios["accept_cpu_s_per_10k"] == 0.14
    assert made.ratios["growth_1m"] is None
    assert made.reasons["growth_1m"] == "not measured: not run"


def test_what_could_not_be_measured_says_why() -> None:
    made = a_report({"connection_vs_h2load": None}, {"connection_vs_h2load": "not measured: h2load is not installed"})
    assert made.reasons["connection_vs_h2load"] == "not measured: h2load is not installed"
    assert "not measured: h2load is not installed" in report.page(made)


def test_a_missed_target_is_said_plainly() -> None:
    [line] = [line for line in report.page(a_report({"growth_1m": 1.16})).splitlines() if "`growth_1m`" in line]
    assert [cell.strip() for cell in line.split("|")[2:-1]] == ["`growth_1m`", "1.15", "1.16", "**missed**"]


@pytest.mark.parametrize(
    ("value", "limit", "said"),
    [(1.5, 1.5, "reached"), (1.51, 1.5, "**missed**"), (None, 1.5, "not measured"), (9.0, None, "")],
)
def test_a_target_is_the_most_that_may_be(value: float | None, limit: float | None, said: str) -> None:
    assert report.verdict(value, limit) == said


def test_the_page_names_the_machine_and_what_was_missing() -> None:
    text = report.page(a_report({}))
    assert "cpu: Some CPU, cores: 2, h2load: not installed, nginx: 1.22.1" in text


def test_a_report_is_saved_and_read_back(folder: Path) -> None:
    path = report.save(a_report({"accept_cpu_s_per_10k": 0.123456789}))
    assert path == folder / "benchmarks" / "2026-01-02.json"
    again = report.load("2026-01-02")
    assert again is not None
    assert again.ratios["accept_cpu_s_per_10k"] == 0.12346
    assert again.figures["accept"].figure.tables[0].rows == [["REST", "0.123"]]
    assert report.load("2026-01-03") is None


def test_what_was_written_by_hand_stays(folder: Path) -> None:
    report.save(a_report({}))
    page = folder / "benchmarks.md"
    page.write_text(page.read_text() + "Growth was missed because of this.\n")
    report.save(a_report({"growth_1m": 1.0}))
    before, _, after = page.read_text().partition(BY_HAND)
    assert after == "\nGrowth was missed because of this.\n"
    assert "| 1.15 " in before


def test_every_key_has_a_figure_that_measures_it() -> None:
    measured = [key for _, keys in FIGURES.values() for key in keys]
    assert sorted(measured) == sorted(report.TARGETS)


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_saved_reports_have_what_their_readers_rely_on(path: Path) -> None:
    document = json.loads(path.read_text())
    assert document["date"] == path.stem
    assert document["ratios"].keys() >= KEYS
    for key, value in document["ratios"].items():
        assert isinstance(value, float | int) or document["reasons"][key].startswith("not measured: ")
    assert {"cpu", "cores", "python", "postgresql"} <= document["machine"].keys()


@pytest.mark.parametrize("path", SAVED[-1:], ids=lambda path: path.stem)
def test_the_page_shows_the_newest_report(path: Path) -> None:
    newest = report.load(path.stem)
    assert newest is not None
    assert report.PAGE.read_text().partition(BY_HAND)[0] == f"{report.page(newest)}\n"
