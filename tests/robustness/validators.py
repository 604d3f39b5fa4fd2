"""The promises, each as a function that looks for what breaks it in the history of a run.

A validator returns what it found, a line for each; nothing means that the promise held.
`tests/unit/robustness/test_validators.py` shows for each that it finds what it is for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice, pairwise
from typing import Final
from uuid import UUID

from tests.robustness.history import CANCELED, ENDED, FAILED, FINAL, SENT, Call, Counts, History, Operation, Who

_SHOWN: Final = 10
_CLOCK: Final = timedelta(milliseconds=2)  # between reading a clock and writing it down; one machine has one clock
_DEAD: Final = frozenset({404, 410})
_MOVES: Final = {"SCHEDULED": {"SCHEDULED", "PROCESSING", *ENDED}, "PROCESSING": {"PROCESSING", *ENDED}}

Validator = Callable[[History], Iterator[str]]


def accepted_is_durable(history: History) -> Iterator[str]:
    """I1: what a caller was told is there, each recipient of it is final, and what is SENT was taken by a provider."""
    rows = Counter(row.who for row in history.rows)
    for told in history.told:
        if told.operation is not None and told.operation not in history.operations:
            yield f"{told.operation} was accepted and is gone"
    for operation in history.operations.values():
        lost = [index for index in operation.addresses if rows[(operation.id, index)] != 1]
        if lost:
            yield f"{operation.id}: {len(lost)} recipients without an end of their own, as {lost[:_SHOWN]}"
        if operation.status not in ENDED or operation.id in history.jobs:
            yield f"{operation.id}: {operation.status}, and jobs are left: {operation.id in history.jobs}"
    taken = {history.who.get(call.token) for call in history.calls if call.taken}
    for row in history.rows:
        if row.status == SENT and row.who not in taken:
            yield f"{row.who} is SENT, and no provider has it"


def one_operation_for_a_key(history: History) -> Iterator[str]:
    """I2: however often a request is repeated, there is one operation, and every answer names it."""
    named = defaultdict(set)
    for told in history.told:
        if told.operation is not None:
            named[told.key].add(told.operation)
    yield from (f"{key} made {len(made)} operations" for key, made in named.items() if len(made) > 1)
    owners = Counter(address for each in history.operations.values() for address in set(each.addresses.values()))
    twice = [address for address, times in owners.items() if times > 1]
    if twice:
        yield f"{len(twice)} recipients are in several operations, as {twice[:_SHOWN]}"


def accept_is_atomic(history: History) -> Iterator[str]:
    """I3: an operation has all its recipients, in their order, and its first event; what was refused left nothing."""
    yield from history.orphans
    for operation in history.operations.values():
        if sorted(operation.addresses) != list(range(operation.recipients)):
            yield f"{operation.id} has {len(operation.addresses)} of {operation.recipients} recipients"
        first = history.feeds.get(operation.id, [None])[0]
        if first is None or first.changes or first.status in ENDED:
            yield f"{operation.id} does not begin with its acceptance"
    written = {address for each in history.operations.values() for address in each.addresses.values()}
    for told in history.told:
        if told.refused and not written.isdisjoint(told.addresses):
            yield f"{told.key} was refused, and is there"
        operation = history.operations.get(told.operation) if told.operation else None
        if operation and [operation.addresses.get(n) for n in range(operation.recipients)] != list(told.addresses):
            yield f"{operation.id} has other recipients than it was sent to"


def only_legal_moves(history: History) -> Iterator[str]:
    """I4: recipients and operations move forward only, and nothing follows an end."""
    for who, statuses in history.changes.items():
        if not set(statuses) <= FINAL:
            yield f"{who} moved to {statuses}"
        if len(set(statuses)) > 1:
            yield f"{who} left an end: {statuses}"
    for operation, events in history.feeds.items():
        for before, after in pairwise(events):
            if after.status not in _MOVES.get(before.status, ()):
                yield f"{operation} moved from {before.status} to {after.status} at {after.seq}"


def counts_add_up(history: History) -> Iterator[str]:
    """I5: an event's counts are those of the changes up to it, an operation's those of its rows, a day's the sum."""
    for operation in history.operations.values():
        counted: Counter[str] = Counter()
        for event in history.feeds.get(operation.id, ()):
            counted.update(status for _, status in event.changes)
            if event.counts != Counts.of(counted):
                yield f"{operation.id} at {event.seq}: {event.counts} after changes of {dict(counted)}"
        yield from _counts_of(operation, history.statuses.get(operation.id, Counter()), Counts.of(counted))
    for account, counts in history.daily.items():
        made = Counter(row.status for row in history.rows if history.operations[row.who.operation].account == account)
        if counts != Counts.of(made):
            yield f"{account}: {counts} a day, and rows {dict(made)}"


def _counts_of(operation: Operation, rows: Mapping[str, int], told: Counts) -> Iterator[str]:
    if not operation.counts == Counts.of(rows) == told:
        yield f"{operation.id} counts {operation.counts}, its rows {dict(rows)}, its events {told}"
    ended = operation.counts.sum == operation.recipients
    if ended != (operation.status in ENDED) or ended != (operation.ended_at is not None):
        yield f"{operation.id} is {operation.status} with {operation.counts.sum} of {operation.recipients} ended"


def stale_leases_change_nothing(history: History) -> Iterator[str]:
    """I6: each recipient is told final once, as its row says; the feed of an account has no gap and no number twice."""
    rows = {row.who: row.status for row in history.rows}
    for who in rows.keys() | history.changes.keys():
        if history.changes.get(who) != [rows.get(who)]:
            yield f"{who} is {rows.get(who)}, and was told to be {history.changes.get(who)}"
    feeds: dict[UUID, list[int]] = defaultdict(list)
    for account, number in (*history.notices, *((event.account, event.seq) for event in history.events)):
        feeds[account].append(number)
    for account, numbers in feeds.items():
        if sorted(numbers) != list(range(min(numbers), min(numbers) + len(numbers))):
            yield f"{account}: the feed's numbers have gaps or come twice"


def calls_belong_to_sends(history: History) -> Iterator[str]:
    """I7: every call is for a device of a recipient whose send was committed before."""
    for call in history.calls:
        who = history.who.get(call.token)
        if who is None:
            yield f"{call.token} was called, and is in no send"
        elif call.at + _CLOCK < history.operations[who.operation].created_at:
            yield f"{call.token} was called before its send was accepted"


def duplicates_are_excused(history: History) -> Iterator[str]:
    """I8: who has an answer is not called again unless a loss may have forgotten it; all calls have the device's id."""
    owner: dict[str, str] = {}
    repeats: Counter[int] = Counter()
    for token, calls in history.calls_to.items():
        ids = {call.push_id for call in calls}
        if len(ids) > 1 or any(owner.setdefault(each, token) != token for each in ids):
            yield f"{token}: the push ids {ids} are not one, or are another's"
        for before, after in _repeated(calls):
            loss = history.lost_between(before, after)
            if loss is None:
                yield f"{token} had {before.status} at {before.at} and was called again at {after.at}"
            else:
                repeats[history.losses.index(loss)] += 1
    for number, loss in enumerate(history.losses):
        if repeats[number] > loss.at_most:
            yield f"{repeats[number]} calls were repeated after {loss.at}, {loss.at_most} at most may be"


def _repeated(calls: Sequence[Call]) -> Iterator[tuple[Call, Call]]:
    """Each call that came after a decisive answer, with the last such answer."""
    decided: Call | None = None
    for call in calls:
        if decided is not None:
            yield decided, call
        if call.decisive:
            decided = call


def nothing_after_an_end(history: History) -> Iterator[str]:
    """I9: a canceled recipient was never called; no claim after a cancel, a deadline or a deletion calls."""
    called = {history.who.get(call.token) for call in history.calls}
    for row in history.rows:
        if row.status == CANCELED and row.who in called:
            yield f"{row.who} is CANCELED, and was called"
    for call in history.calls:
        if (who := history.who.get(call.token)) is None:
            continue
        deadline = history.operations[who.operation].deadline
        if call.at > deadline + history.late:
            yield f"{call.token} was called at {call.at}, after the deadline {deadline}"
        for end in history.ends:
            meant = who.operation == end.operation or call.token in end.tokens
            if meant and call.at > end.at + _CLOCK and who not in end.in_hand:
                yield f"{call.token} was called at {call.at}, after the end at {end.at}"


def rejection_is_final(history: History) -> Iterator[str]:
    """I10: who has only permanent refusals is FAILED; a dead device goes unless registered since, no other does."""
    rows = {row.who: row for row in history.rows}
    for who, calls in _answers(history).items():
        row = rows.get(who)
        refused = (
            bool(calls) and all(call.permanent for call in calls) and len(calls) == len(row.attempts if row else ())
        )
        if refused and (row is None or row.status != FAILED):
            yield f"{who} was refused for good, and is {row.status if row else None}"
    unregistered = {token for end in history.ends for token in end.tokens}
    for token, registrations in history.registrations.items():
        if token not in unregistered:
            yield from _kept_or_removed(history, token, registrations)


def _answers(history: History) -> dict[Who, list[Call]]:
    """The last call for each device, by recipient."""
    found: dict[Who, list[Call]] = defaultdict(list)
    for token, calls in history.calls_to.items():
        if token in history.who:
            found[history.who[token]].append(calls[-1])
    return found


def _kept_or_removed(history: History, token: str, registrations: Sequence[datetime]) -> Iterator[str]:
    """Of a registration between the claim and the answer nothing can be said from outside."""
    dead = [call for call in history.calls_to.get(token, ()) if call.status in _DEAD]
    kept = token in history.registered
    if not dead or registrations[-1] > dead[-1].at:
        if not kept:
            yield f"{token} was registered at {registrations[-1]}, {'again' if dead else 'is alive'}, and is gone"
    elif kept and registrations[-1] < _sent(history, token).created_at and not _hit(history, token, dead[-1]):
        yield f"{token} is dead since {dead[-1].at}, and still registered"


def _sent(history: History, token: str) -> Operation:
    return history.operations[history.who[token].operation]


def _hit(history: History, token: str, dead: Call) -> bool:
    """Whether a loss may have taken along who was still judging this death: the next send finds the device again."""
    send = _sent(history, token).id
    return any(loss.over >= dead.at and any(who.operation == send for who in loss.in_hand) for loss in history.losses)


def nothing_too_early(history: History) -> Iterator[str]:
    """I11: no call before its send is due, nor before Retry-After is over unless a loss may have forgotten it."""
    for token, calls in history.calls_to.items():
        who = history.who.get(token)
        if who is not None and calls[0].at + _CLOCK < history.operations[who.operation].due_at:
            yield f"{token} was called before its send was due"
        for before, after in pairwise(calls):
            early = before.retry_after and after.at + _CLOCK < before.at + timedelta(seconds=before.retry_after)
            if early and history.lost_between(before, after) is None:
                yield f"{token} was called again {after.at - before.at} after Retry-After: {before.retry_after}"


def others_are_not_delayed(history: History) -> Iterator[str]:
    """I12: a healthy send behind sends in trouble is all SENT while each of those is still under way."""
    for bystander in history.bystanders:
        healthy = history.operations[bystander.healthy]
        if healthy.counts.sent != healthy.recipients:
            yield f"{healthy.id}: {healthy.counts} of {healthy.recipients}, beside sends in trouble"
        for other in (history.operations[each] for each in bystander.troubled):
            if other.created_at > healthy.created_at:
                yield f"{other.id} was accepted after the healthy send: that shows nothing"
            elif healthy.ended_at is None or (other.ended_at is not None and other.ended_at < healthy.ended_at):
                yield f"{healthy.id} waited for {other.id}"


VALIDATORS: Final[Mapping[str, Validator]] = {
    "I1": accepted_is_durable,
    "I2": one_operation_for_a_key,
    "I3": accept_is_atomic,
    "I4": only_legal_moves,
    "I5": counts_add_up,
    "I6": stale_leases_change_nothing,
    "I7": calls_belong_to_sends,
    "I8": duplicates_are_excused,
    "I9": nothing_after_an_end,
    "I10": rejection_is_final,
    "I11": nothing_too_early,
    "I12": others_are_not_delayed,
}


def broken(history: History, *but: str) -> dict[str, list[str]]:
    """What broke which promise, ten findings each at most; of all promises except ``but``."""
    found = {
        number: list(islice(validate(history), _SHOWN)) for number, validate in VALIDATORS.items() if number not in but
    }
    return {number: findings for number, findings in found.items() if findings}
