"""How a status stream looks: live on a terminal, plain lines anywhere else, JSON for programs."""

from __future__ import annotations

import sys
from collections import deque
from types import TracebackType
from typing import Protocol, Self

from pharos.push.v1.delivery_status_pb2 import WatchDeliveryStatusResponse
from pharos.push.v1.operations_pb2 import Operation
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from client.errors import PushError
from client.json_lines import json_line
from client.live_view import LineView, counted, summary_lines
from client.status_lines import counts, news_lines, operation_line, operation_status, recipient_line
from client.tally import Tally

_SHOWN_OPERATIONS = 20
_TABLE_WIDTH = 60  # an operation's id and the longest word of what became of it
_SHOWN_NEWS = 5


class StreamView(Protocol):
    """Shows the messages of a stream, between `with` and its end, and that the connection was lost."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, message: WatchDeliveryStatusResponse) -> None: ...

    def lost(self, failure: PushError) -> None: ...


def operation_view() -> StreamView:
    """A bar and a table on a terminal, otherwise a line for each tenth; at the end a summary."""
    console = Console()
    return OperationTable(console) if _draws(console) else OperationLines()


def account_view() -> StreamView:
    """The operations that changed last: a table on a terminal with room for it, otherwise a line for each change."""
    console = Console()
    return AccountTable(console) if _draws(console) and console.width >= _TABLE_WIDTH else AccountLines()


def _draws(console: Console) -> bool:
    """Whether it is a terminal, and one that can draw anew: a dumb one would show nothing before the end."""
    return console.is_terminal and not console.is_dumb_terminal


class _Plain:
    """What needs no preparation. A lost connection is told on stderr."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def lost(self, failure: PushError) -> None:
        sys.stderr.write(f"pharos: {_going_on(failure)}\n")
        sys.stderr.flush()


class JsonLines(_Plain):
    """One JSON object a message."""

    def show(self, message: WatchDeliveryStatusResponse) -> None:
        _say(json_line(message))


class OperationLines(_Plain):
    """One line for each tenth of the way."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._lines = LineView("delivering")

    def show(self, message: WatchDeliveryStatusResponse) -> None:
        tally = self._tally
        tally.add(message)
        self._lines.show(len(tally.final), tally.recipients, counted(tally.by_status()))
        if tally.ended:
            _summarize(tally)


class AccountLines(_Plain):
    """A line for each operation that changed, and for each piece of news."""

    def show(self, message: WatchDeliveryStatusResponse) -> None:
        for operation in message.changes.operations:
            _say(operation_line(operation))
        for line in news_lines(message.changes):
            _say(line)


class RecipientLines(_Plain):
    """A line for each recipient that came to a status, and for each piece of news."""

    def show(self, message: WatchDeliveryStatusResponse) -> None:
        for recipient in (*message.snapshot.recipients, *message.changes.recipients):
            _say(recipient_line(recipient))
        for line in news_lines(message.changes):
            _say(line)
        if message.end.HasField("operation"):
            _say(operation_line(message.end.operation))


class _Live:
    """What is drawn anew at each message. A lost connection stands below until something is heard again."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, message: WatchDeliveryStatusResponse) -> None:
        self._add(message)
        self._live.update(Group(*self._parts()))  # made here: rich draws in a thread of its own

    def lost(self, failure: PushError) -> None:
        self._live.update(Group(*self._parts(), Text(_going_on(failure))))

    def _add(self, message: WatchDeliveryStatusResponse) -> None:
        raise NotImplementedError

    def _parts(self) -> list[RenderableType]:
        raise NotImplementedError


class OperationTable(_Live):
    """A bar, and how many recipients have each status and why."""

    def __init__(self, console: Console) -> None:
        self._tally = Tally()
        self._bar = Progress(
            *(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()),
            *(MofNCompleteColumn(), TimeElapsedColumn()),
        )
        self._task = self._bar.add_task("delivering", total=None)
        super().__init__(console)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._tally.ended:
            _summarize(self._tally)

    def _add(self, message: WatchDeliveryStatusResponse) -> None:
        self._tally.add(message)
        self._bar.update(self._task, completed=len(self._tally.final), total=self._tally.recipients or None)

    def _parts(self) -> list[RenderableType]:
        table = Table("status", "recipients", box=None)
        for status, count in self._tally.by_status().most_common():
            table.add_row(status, str(count))
        for reason, count in self._tally.by_reason().most_common():
            table.add_row(f"  {reason}", str(count), style="dim")
        return [self._bar, table]


class AccountTable(_Live):
    """The operations that changed last, with their counts, and the last news."""

    def __init__(self, console: Console) -> None:
        self._operations: dict[str, Operation] = {}
        self._news: deque[str] = deque(maxlen=_SHOWN_NEWS)
        super().__init__(console)

    def _add(self, message: WatchDeliveryStatusResponse) -> None:
        for operation in message.changes.operations:
            self._operations.pop(operation.id, None)
            self._operations[operation.id] = operation
        while len(self._operations) > _SHOWN_OPERATIONS:
            del self._operations[next(iter(self._operations))]
        self._news.extend(news_lines(message.changes))

    def _parts(self) -> list[RenderableType]:
        table = Table(Column("operation", no_wrap=True), "status and recipients", box=None)
        for operation in reversed(self._operations.values()):
            table.add_row(operation.id, f"{operation_status(operation)}  {counts(operation)}")
        return [*map(Text, self._news), table]


def _summarize(tally: Tally) -> None:
    for line in summary_lines(tally):
        _say(line)


def _going_on(failure: PushError) -> str:
    return f"the stream was lost, going on: {failure}"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
