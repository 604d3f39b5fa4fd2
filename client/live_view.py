"""How far something has come: a bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
from collections import Counter
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from client.status_lines import operation_status
from client.tally import Tally


class ProgressView(Protocol):
    """Shows how far something has come, between `with` and its end."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, done: int, total: int, detail: str = "") -> None: ...


def progress_view(title: str) -> ProgressView:
    """A bar on a terminal, otherwise a line for each tenth."""
    console = Console()
    return BarView(title, console) if console.is_terminal else LineView(title)


class BarView:
    """A progress bar."""

    def __init__(self, title: str, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, TextColumn("{task.fields[detail]}"), console=console)
        self._task = self._progress.add_task(title, total=None, detail="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, done: int, total: int, detail: str = "") -> None:
        self._progress.update(self._task, completed=done, total=total or None, detail=detail)


class LineView:
    """One line for each tenth of the way."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._tenths = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, done: int, total: int, detail: str = "") -> None:
        tenths = done * 10 // total if total else 0
        if tenths > self._tenths:
            self._tenths = tenths
            sys.stdout.write(f"{self._title} {done}/{total or '?'} {detail}".rstrip() + "\n")
            sys.stdout.flush()


def counted(counts: Counter[str]) -> str:
    """`SENT 9990  FAILED 10`, the most frequent first."""
    return "  ".join(f"{name} {count}" for name, count in counts.most_common())


def summary_lines(tally: Tally) -> list[str]:
    """What became of an operation, in two or three lines."""
    status = operation_status(tally.operation)
    lines = [f"{tally.operation.id} {status}: {counted(tally.by_status()) or 'nothing final yet'}"]
    if reasons := tally.by_reason():
        lines.append(f"reasons: {counted(reasons)}")
    return lines
