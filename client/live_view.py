"""How a status stream looks: live on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
from collections import Counter
from types import TracebackType
from typing import Protocol, Self

from pharos.push.v1.operations_pb2 import Operation, OperationStatus
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from client.tally import Tally

_SHOWN_OPERATIONS = 20
_STATS = ("recipients", "sent", "failed", "unaddressable", "canceled", "queued", "scheduled")


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


def operation_status(operation: Operation) -> str:
    return OperationStatus.Name(operation.status).removeprefix("OPERATION_STATUS_")


class AccountView:
    """The operations that changed last: a table on a terminal, otherwise a line for each change."""

    def __init__(self, console: Console | None = None) -> None:
        console = console or Console()
        self._operations: dict[str, Operation] = {}
        self._live = Live(console=console) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, operation: Operation) -> None:
        if self._live is None:
            counts = "  ".join(f"{name} {count}" for name, count in _counts(operation) if count)
            sys.stdout.write(f"{operation.id} {operation_status(operation)}  {counts}\n")
            sys.stdout.flush()
            return
        self._operations.pop(operation.id, None)
        self._operations[operation.id] = operation
        while len(self._operations) > _SHOWN_OPERATIONS:
            del self._operations[next(iter(self._operations))]
        self._live.update(self._table())

    def _table(self) -> Table:
        table = Table("operation", "status", *_STATS)
        for operation in reversed(self._operations.values()):
            counts = (str(count) for _, count in _counts(operation))
            table.add_row(operation.id, operation_status(operation), *counts)
        return table


def _counts(operation: Operation) -> list[tuple[str, int]]:
    return [(name, getattr(operation.stats, name)) for name in _STATS]
