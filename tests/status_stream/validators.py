"""The stream's guarantees, each as a function that looks for what breaks it in a history.

They are named as the comment of `WatchDeliveryStatus` names them. A validator returns what it found, a line for each;
nothing means that the guarantee held. `tests/unit/status_stream/test_validators.py` shows for each that it finds what
it is for.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from math import inf
from typing import Final

from tests.status_stream.history import Change, Commit, History, Kind, Message, Sitting, Subscription, told

CHECKPOINT_WITHIN: Final = 15.0  # seconds
_SHOWN: Final = 10

Validator = Callable[[History], Iterator[str]]


def ordered(history: History) -> Iterator[str]:
    """Changes come in the order in which they were committed: by the feed's numbers, and by the writers' clocks."""
    for subscription in history.subscriptions:
        changes = told(message for message in subscription.log() if message.kind is Kind.CHANGES)
        yield from (f"{subscription.name}: {line}" for line in _out_of_order(history, changes))


def _out_of_order(history: History, changes: Sequence[Change]) -> Iterator[str]:
    highest, latest = 0, -inf  # number, and beginning of a COMMIT, among what was told so far
    for change in changes:
        commit = history.commit_of.get(change)
        if commit is None:
            yield f"{change} was told, and never committed"
            continue
        if commit.seq < highest:
            yield f"{change} of {commit.seq} came after {highest}"
        if commit.over < latest:
            yield f"{change} was committed before another one's COMMIT began, and came after it"
        highest, latest = max(highest, commit.seq), max(latest, commit.begun)


def unique(history: History) -> Iterator[str]:
    """No recipient's change is told twice, by snapshot, changes and what came after a resume together."""
    for subscription in history.subscriptions:
        times = Counter((change.operation, change.index) for change in told(subscription.log()))
        twice = [who for who, count in times.items() if count > 1]
        if twice:
            yield f"{subscription.name}: {len(twice)} recipients were told more than once, as {twice[:_SHOWN]}"


def atomic(history: History) -> Iterator[str]:
    """Of each commit that is told, one message has everything, and the operation's counts are those after it."""
    commits = {commit.seq: commit for commit in history.commits}
    for subscription in history.subscriptions:
        parts: dict[int, list[set[Change]]] = {}
        for message in subscription.log():
            if message.kind is not Kind.CHANGES:
                continue
            for seq, part in history.by_commit(filter(subscription.wants, message.changes)).items():
                parts.setdefault(seq, []).append(part)
            if subscription.everyone:  # else the last commit may have changed nobody who is told
                yield from (f"{subscription.name}: {line}" for line in _other_counts(history, message))
        for seq, found in parts.items():
            wanted = {change for change in commits[seq].changes if subscription.wants(change)}
            if wanted not in found:
                yield f"{subscription.name}: {seq} came as {[len(part) for part in found]} of {len(wanted)} recipients"


def _other_counts(history: History, message: Message) -> Iterator[str]:
    last: dict[object, Commit] = {}
    for change in message.changes:
        if commit := history.commit_of.get(change):
            last[commit.operation] = max(commit, last.get(commit.operation, commit), key=lambda each: each.seq)
    for operation, counts in message.counts.items():
        if operation in last and counts != last[operation].counts:
            yield f"{operation} after {last[operation].seq} has {last[operation].counts}, and {counts} was told"


def reliable(history: History) -> Iterator[str]:
    """Every recipient's change is in the feed, and nothing behind the beginning of a stream is left out of it."""
    lost = [change for change in history.rows if change not in history.commit_of]
    if lost:
        yield f"{len(lost)} recipients are final, and no entry of the feed says so, as {lost[:_SHOWN]}"
    for subscription in history.subscriptions:
        heard = set(told(subscription.log()))
        missing = [(seq, change) for seq, change in owed(history, subscription) if change not in heard]
        if missing:
            yield f"{subscription.name}: {len(missing)} changes are missing, as {missing[:_SHOWN]}"


def owed(history: History, subscription: Subscription) -> Iterator[tuple[int, Change]]:
    """What a subscriber has to be told, each with the number of its commit."""
    first = history.first_seq(subscription.log())
    begin = subscription.behind if first is None else min(subscription.behind, first - 1)
    if subscription.ends and subscription.snapshot:
        begin = 0
    for commit in history.between(begin, sys.maxsize):
        yield from ((commit.seq, change) for change in commit.changes if subscription.wants(change))


def resumable(history: History) -> Iterator[str]:
    """A stream begun with a message's token goes on right behind that message."""
    for subscription in history.subscriptions:
        for before, replaced, sitting in subscription.seams():
            yield from (
                f"{subscription.name}: {line}" for line in _seam(history, subscription, before, replaced, sitting)
            )


def _seam(
    history: History,
    subscription: Subscription,
    before: Sequence[Message],
    replaced: Sequence[Message],
    sitting: Sitting,
) -> Iterator[str]:
    if sitting.refused:
        yield f"a token was refused: {sitting.refused}"
    if any(message.kind is Kind.SNAPSHOT for message in sitting.messages):
        yield "a resumed stream began anew, with a snapshot"
    # The sitting may have been left earlier, or later, than the one before it: as far as both went they are the same.
    for number, (once, again) in enumerate(zip(told(replaced), told(sitting.messages), strict=False)):
        if once != again:
            yield f"behind the same token {once} was change {number}, and then {again}"
            break
    last, first = history.last_seq(before), history.first_seq(sitting.messages)
    if last is not None and first is not None:
        skipped = [
            commit.seq
            for commit in history.between(last, first)
            if any(subscription.wants(change) for change in commit.changes)
        ]
        if first <= last or skipped:
            yield f"behind {last} it went on at {first}, over {skipped[:_SHOWN]}"


def bookmarkable(history: History) -> Iterator[str]:
    """Every message has a token, but parts of a snapshot; one comes every 15 seconds as long as a call is open."""
    for subscription in history.subscriptions:
        for sitting in subscription.sittings:
            for message in sitting.messages:
                if bool(message.token) == (message.kind is Kind.SNAPSHOT and message.more):
                    yield f"{subscription.name}: {message.kind.value} with the token {message.token!r}"
            marks = [sitting.opened, *(message.at for message in sitting.messages if message.token)]
            if sitting.closed is not None:
                marks.append(sitting.closed)
            longest = max((after - before for before, after in pairwise(marks)), default=0.0)
            if longest > CHECKPOINT_WITHIN and not sitting.refused:
                yield f"{subscription.name}: no token for {longest:.1f} s"


def filtered(history: History) -> Iterator[str]:
    """Nothing outside the scope and the filters is told; what ends some time ends all the same, once and last."""
    for subscription in history.subscriptions:
        log = subscription.log()
        others = [change for change in told(log) if not subscription.wants(change)]
        if others:
            yield f"{subscription.name}: {len(others)} changes are not of this stream, as {others[:_SHOWN]}"
        ends = [place for place, message in enumerate(log, 1) if message.kind is Kind.END]
        if ends != ([len(log)] if subscription.ends else []):
            yield f"{subscription.name}: ends at {ends} of {len(log)} messages"


GUARANTEES: Final[Mapping[str, Validator]] = {
    "ordered": ordered,
    "unique": unique,
    "atomic": atomic,
    "reliable": reliable,
    "resumable": resumable,
    "bookmarkable": bookmarkable,
    "filtered": filtered,
}


def broken(history: History) -> dict[str, list[str]]:
    """What broke which guarantee, ten findings each at most."""
    found = {name: list(islice(validate(history), _SHOWN)) for name, validate in GUARANTEES.items()}
    return {name: findings for name, findings in found.items() if findings}
