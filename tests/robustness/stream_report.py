"""What a run of the status stream's scenario was, as it stands in docs/status_stream_proof.md."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from tests.robustness.subscribers import Role, Subscribers
from tests.status_stream.history import Change, History, Subscription, told
from tests.status_stream.validators import GUARANTEES, owed
from tests.status_stream.writers import Writers

_COLUMNS = ("subscribers", "streams", "calls", "cut off", "messages", "owed", "told", "lost", "repeated")


def report(
    history: History, subscribers: Subscribers, restarts: Sequence[str], broken: Mapping[str, Sequence[str]]
) -> str:
    """A table with a row for each role."""
    rows = [[str(role), *map(_number, figures)] for role, figures in _figures(history, subscribers).items()]
    lines = [*_about(history, subscribers.writers, restarts), "", *_table([["", *_COLUMNS], *rows]), ""]
    lines += [f"{name}: {len(broken[name])} findings" if name in broken else f"{name}: held" for name in GUARANTEES]
    return "\n".join(lines)


def _about(history: History, writers: Writers, restarts: Sequence[str]) -> Iterator[str]:
    recipients = sum(len(commit.changes) for commit in history.commits)
    yield f"restarts: {', '.join(restarts)}"
    yield (
        f"sends: {_number(len(writers.accepted))}, entries of the feed: {_number(len(history.commits))}, "
        f"recipients: {_number(recipients)}"
    )
    yield (
        f"transactions open at once: {writers.most_open} at most, undone: {_number(writers.undone)}, "
        f"tries without a database: {_number(writers.retries)}"
    )


def _figures(history: History, subscribers: Subscribers) -> dict[Role, list[int]]:
    found: dict[Role, list[int]] = defaultdict(lambda: [0] * len(_COLUMNS))
    people = Counter(subscribers.watching)
    for reader in subscribers.readers:
        role = subscribers.roles[reader.subscription.name]
        one = [0, 1, *_of(history, reader.subscription)]
        one.insert(3, reader.lost)
        found[role] = [before + more for before, more in zip(found[role], one, strict=True)]
        found[role][0] = people[role]
    return found


def _of(history: History, subscription: Subscription) -> list[int]:
    """Calls, messages, and changes: owed, told, lost and repeated."""
    log = subscription.log()
    times: Counter[Change] = Counter(told(log))
    due = {change for _, change in owed(history, subscription)}
    messages = sum(len(sitting.messages) for sitting in subscription.sittings)
    repeated = sum(count - 1 for count in times.values())
    return [len(subscription.sittings), messages, len(due), times.total(), len(due - times.keys()), repeated]


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(each.rjust(width) for each, width in zip(others, widths[1:], strict=True))]
        yield "  ".join(cells)


def _number(value: int) -> str:
    return f"{value:,}"
