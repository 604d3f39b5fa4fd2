"""Each guarantee's validator finds the histories that break it, and none of them objects to a good one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from tests.status_stream.history import Change, Commit, Counts, History, Kind, Message, Sitting, Subscription
from tests.status_stream.validators import GUARANTEES, broken

A, B = UUID(int=1 << 14), UUID(int=2 << 14)

SENT, FAILED = "SENT", "FAILED"
A0, A1, A2, A3, A4 = (Change(A, index, status) for index, status in enumerate((SENT, FAILED, SENT, SENT, FAILED)))
B0, B1 = Change(B, 0, SENT), Change(B, 1, FAILED)


def message(kind: Kind, at: float, token: str, *changes: Change, **more: Any) -> Message:
    return Message(kind, at, token, changes, **more)


def changes(at: float, token: str, *told: Change, **more: Any) -> Message:
    return message(Kind.CHANGES, at, token, *told, **more)


def good() -> History:
    """Two sends in six commits. Each COMMIT was over before the next one began.

    `account` watches from the beginning, and goes on behind a token that is older than the last. `late` watches one
    send from its second commit on. `failures` watches the account for those that fail.
    """
    commits = [
        Commit(1, A, begun=1.0, over=1.5),
        Commit(2, A, (A0, A1), Counts(1, 1), begun=2.0, over=2.5),
        Commit(3, B, begun=3.0, over=3.5),
        Commit(4, A, (A2, A3), Counts(3, 1), begun=4.0, over=4.5),
        Commit(5, B, (B0, B1), Counts(1, 1), begun=5.0, over=5.5),
        Commit(6, A, (A4,), Counts(3, 2), begun=6.0, over=6.5),
    ]
    account = Subscription(
        "account",
        sittings=[
            Sitting(
                "",
                0,
                [
                    message(Kind.SNAPSHOT, 0, "t0"),
                    changes(2, "t2", A0, A1, counts={A: Counts(1, 1)}),
                    changes(4, "t4", A2, A3, counts={A: Counts(3, 1), B: Counts()}),
                ],
                4.1,
            ),
            Sitting(
                "t2",
                5,
                [
                    changes(5, "t5", A2, A3, B0, B1, counts={A: Counts(3, 1), B: Counts(1, 1)}, ended={B}),
                    message(Kind.CHECKPOINT, 15, "t5"),
                    changes(16, "t6", A4, counts={A: Counts(3, 2)}, ended={A}),
                ],
                20,
            ),
        ],
    )
    late = Subscription(
        "late",
        operation=A,
        sittings=[
            Sitting("", 2, [message(Kind.SNAPSHOT, 2, "", A0, more=True), message(Kind.SNAPSHOT, 3, "s2", A1)], 3),
            Sitting("s2", 3, [changes(4, "s4", A2, A3), changes(6, "s6", A4), message(Kind.END, 6, "s6")], 6),
        ],
    )
    failures = Subscription(
        "failures",
        statuses={FAILED},
        sittings=[
            Sitting(
                "",
                0,
                [
                    message(Kind.SNAPSHOT, 0, "f0"),
                    changes(2, "f2", A1),
                    changes(5, "f5", B1),
                    changes(6, "f6", A4),
                ],
                7,
            )
        ],
    )
    return History(commits, {A0, A1, A2, A3, A4, B0, B1}, [account, late, failures])


ACCOUNT, LATE, FAILURES = range(3)
Forge = Callable[[History], object]


def sitting(history: History, subscription: int, number: int) -> Sitting:
    return history.subscriptions[subscription].sittings[number]


def swapped(subscription: int, number: int, place: int) -> Forge:
    """A message's changes come before those of the one ahead of it; the tokens stay where they were."""

    def forge(history: History) -> None:
        messages = sitting(history, subscription, number).messages
        one, two = messages[place - 1 : place + 1]
        messages[place - 1] = replace(one, changes=two.changes, counts=two.counts)
        messages[place] = replace(two, changes=one.changes, counts=one.counts)

    return forge


def instead(subscription: int, number: int, place: int, *put: Message) -> Forge:
    """Other messages where one was; none where it is left out."""

    def forge(history: History) -> None:
        sitting(history, subscription, number).messages[place : place + 1] = put

    return forge


def behind(subscription: int, number: int, *more: Message) -> Forge:
    """More messages at the end of a sitting."""
    return lambda history: sitting(history, subscription, number).messages.extend(more)


def with_changes(subscription: int, number: int, place: int, *told: Change, **fields: Any) -> Forge:
    """A message that tells other changes."""

    def forge(history: History) -> None:
        messages = sitting(history, subscription, number).messages
        messages[place] = replace(messages[place], changes=told, **fields)

    return forge


def fields_of_sitting(subscription: int, number: int, **fields: Any) -> Forge:
    def forge(history: History) -> None:
        sittings = history.subscriptions[subscription].sittings
        sittings[number] = replace(sittings[number], **fields)

    return forge


def refused(history: History) -> None:
    history.subscriptions[ACCOUNT].sittings.insert(1, Sitting("t4", 4.5, refused="INVALID_ARGUMENT"))


def committed_otherwise(*numbers: int) -> Forge:
    """The writers saw the commits in another order than that of the feed's numbers."""

    def forge(history: History) -> None:
        assert isinstance(history.commits, list)
        for number, place in enumerate(numbers):
            history.commits[place] = replace(history.commits[place], begun=10.0 + number, over=10.5 + number)

    return forge


def out_of_the_feed(history: History) -> None:
    """A recipient that became final without an entry of the feed."""
    assert isinstance(history.rows, set)
    history.rows.add(Change(B, 2, SENT))


FORGED: Sequence[tuple[set[str], str, Forge]] = [
    ({"ordered"}, "of 5 came after 6", swapped(FAILURES, 0, 3)),
    ({"ordered"}, "COMMIT began", committed_otherwise(5, 4)),
    ({"ordered"}, "never committed", with_changes(ACCOUNT, 1, 2, A4, Change(A, 5, SENT), counts={})),
    ({"unique"}, "1 recipients were told more", behind(ACCOUNT, 1, changes(17, "t6", A4))),
    ({"unique"}, "2 recipients were told more", with_changes(ACCOUNT, 1, 0, A2, A3, B0, B1, B0, B1)),
    ({"unique", "resumable"}, "2 recipients were told", with_changes(LATE, 1, 0, A0, A1, A2, A3)),
    ({"atomic"}, "4 came as [1, 1] of 2", instead(LATE, 1, 0, changes(4, "s3", A2), changes(4, "s4", A3))),
    ({"atomic", "reliable"}, "4 came as [1] of 2", with_changes(LATE, 1, 0, A2)),
    ({"atomic"}, "was told", with_changes(ACCOUNT, 1, 2, A4, counts={A: Counts(3, 1)})),
    ({"reliable"}, "1 changes are missing", instead(FAILURES, 0, 2)),
    ({"reliable"}, "1 changes are missing", instead(ACCOUNT, 1, 2)),
    ({"reliable"}, "1 changes are missing", with_changes(LATE, 0, 0)),
    ({"reliable"}, "no entry of the feed", out_of_the_feed),
    ({"resumable"}, "was refused", refused),
    ({"resumable"}, "began anew", instead(LATE, 1, 0, message(Kind.SNAPSHOT, 3, "s2"), changes(4, "s4", A2, A3))),
    ({"resumable"}, "and then", with_changes(ACCOUNT, 1, 0, A3, A2, B0, B1)),
    ({"resumable", "reliable"}, "went on at 6, over [4]", instead(LATE, 1, 0)),
    ({"bookmarkable"}, "no token for 15.2", fields_of_sitting(ACCOUNT, 1, closed=31.2)),
    ({"bookmarkable"}, "no token for 20", fields_of_sitting(FAILURES, 0, opened=-20.0)),
    ({"bookmarkable"}, "no token for 16", with_changes(FAILURES, 0, 3, A4, at=21.0)),
    ({"bookmarkable"}, "changes with the token ''", with_changes(LATE, 1, 1, A4, token="")),
    ({"filtered"}, "are not of this stream", with_changes(FAILURES, 0, 1, A0, A1)),
    ({"filtered"}, "are not of this stream", with_changes(LATE, 1, 1, B0, A4)),
    ({"filtered"}, "ends at []", instead(LATE, 1, 2)),
    ({"filtered"}, "ends at [5]", behind(LATE, 1, message(Kind.CHECKPOINT, 7, "s6"))),
    ({"filtered"}, "ends at [6]", behind(ACCOUNT, 1, message(Kind.END, 17, "t6"))),
]


def test_a_good_history_breaks_nothing() -> None:
    assert broken(good()) == {}


@pytest.mark.parametrize(("guarantees", "finding", "forge"), FORGED)
def test_a_forged_history_breaks_what_it_was_forged_to_break(guarantees: set[str], finding: str, forge: Forge) -> None:
    history = good()
    forge(history)
    found = broken(history)
    assert found.keys() == guarantees, found
    assert any(finding in line for lines in found.values() for line in lines), found


def test_each_guarantee_is_tried_with_a_history_that_breaks_it_alone() -> None:
    assert {name for guarantees, _, _ in FORGED if len(guarantees) == 1 for name in guarantees} == set(GUARANTEES)


def test_commits_that_overlap_may_come_in_either_order() -> None:
    history = good()
    assert isinstance(history.commits, list)
    history.commits[4] = replace(history.commits[4], begun=5.0, over=9.0)
    history.commits[5] = replace(history.commits[5], begun=4.0, over=8.0)
    assert broken(history) == {}


def test_a_subscriber_who_came_later_is_owed_what_follows_and_no_more() -> None:
    history = good()
    late_comer = Subscription("late-comer", behind=4, sittings=[Sitting("", 4, [message(Kind.SNAPSHOT, 4, "t4")])])
    late_comer.sittings[0].messages += [changes(5, "t5", B0, B1), changes(6, "t6", A4)]
    assert broken(replace(history, subscriptions=[late_comer])) == {}
    del late_comer.sittings[0].messages[1]
    assert broken(replace(history, subscriptions=[late_comer])).keys() == {"reliable"}


USER = UUID(int=7)
OF_USER = Change(A, 0, FAILED, "EXPIRED", "FCM", USER)
OF_TOKEN = Change(A, 1, FAILED, "UNREGISTERED", "APN")
OF_ANOTHER_SEND = Change(B, 0, SENT, "", "FCM")
IN_SCOPE = {
    "user": ({"user": USER}, [OF_USER]),
    "app": ({"sends": {A}}, [OF_USER, OF_TOKEN]),
    "provider": ({"providers": {"FCM"}}, [OF_USER, OF_ANOTHER_SEND]),
    "reason": ({"reasons": {"UNREGISTERED"}}, [OF_TOKEN]),
    "provider and status": ({"providers": {"FCM"}, "statuses": {SENT}}, [OF_ANOTHER_SEND]),
    "places": ({"places": {(A, 1), (B, 0)}}, [OF_TOKEN, OF_ANOTHER_SEND]),
}


@pytest.mark.parametrize(("scope", "owed"), IN_SCOPE.values(), ids=IN_SCOPE)
def test_of_each_scope_and_filter_it_is_known_who_is_to_be_told_and_who_is_not(
    scope: dict[str, Any], owed: list[Change]
) -> None:
    everyone = [OF_USER, OF_TOKEN, OF_ANOTHER_SEND]
    commits = [Commit(number, change.operation, [change]) for number, change in enumerate(everyone, 1)]

    def found(told: Sequence[Change]) -> set[str]:
        messages = [message(Kind.SNAPSHOT, 0, "t"), *(changes(1, "t", change) for change in told)]
        if "places" in scope:
            messages.append(message(Kind.END, 1, "t"))
        subscription = Subscription("one", sittings=[Sitting("", 0, messages, 1)], **scope)
        return set(broken(History(commits, set(everyone), [subscription])))

    assert found(owed) == set()
    assert found(everyone) == {"filtered"}
    for left_out in owed:
        assert found([change for change in owed if change != left_out]) == {"reliable"}


def test_who_begins_a_sends_stream_without_a_snapshot_is_owed_what_follows_and_no_more() -> None:
    def found(behind: int, *told: Change) -> set[str]:
        messages = [message(Kind.CHECKPOINT, 3, "t3"), changes(6, "t6", *told), message(Kind.END, 6, "t6")]
        one = Subscription("one", A, snapshot=False, behind=behind, sittings=[Sitting("", 3, messages, 6)])
        return set(broken(replace(good(), subscriptions=[one])))

    assert found(3, A2, A3, A4) == set()
    assert found(3, A4) == {"reliable"}


def test_other_details_than_those_recorded_are_no_change_that_was_committed() -> None:
    told = OF_TOKEN._replace(reason="EXPIRED")
    one = Subscription("one", sittings=[Sitting("", 0, [changes(1, "t", told)], 1)])
    assert set(broken(History([Commit(1, A, [OF_TOKEN])], {OF_TOKEN}, [one]))) == {"ordered", "reliable"}


def test_a_token_that_was_never_given_is_the_tests_own_mistake() -> None:
    history = good()
    history.subscriptions[ACCOUNT].sittings[1].token = "made-up"
    with pytest.raises(ValueError, match="never given"):
        broken(history)
