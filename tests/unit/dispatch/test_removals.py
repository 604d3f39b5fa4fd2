from __future__ import annotations

from uuid import uuid4

from server.dispatch.removals import UNPROVEN, RemovalGuard
from server.domain.outcomes import Accepted, Rejected
from server.domain.reasons import Reason

WRONG_TOKEN = Rejected(Reason.INVALID_TOKEN, "INVALID_ARGUMENT", device_dead=True)
UNINSTALLED = Rejected(Reason.UNREGISTERED, "UNREGISTERED", device_dead=True)


def test_a_credential_that_reaches_nobody_removes_only_a_few_devices() -> None:
    guard, credential = RemovalGuard(), uuid4()
    assert [guard.allows(credential, WRONG_TOKEN) for _ in range(UNPROVEN + 5)] == [True] * UNPROVEN + [False] * 5


def test_a_credential_may_remove_more_after_it_reached_devices() -> None:
    guard, credential = RemovalGuard(), uuid4()
    for _ in range(20):
        guard.allows(credential, Accepted("id"))
    allowed = [guard.allows(credential, WRONG_TOKEN) for _ in range(40)]
    assert allowed.count(True) == UNPROVEN + 20


def test_uninstalled_apps_are_not_counted() -> None:
    guard, credential = RemovalGuard(), uuid4()
    assert all(guard.allows(credential, UNINSTALLED) for _ in range(100))
    assert guard.allows(credential, WRONG_TOKEN)


def test_one_credential_does_not_answer_for_another() -> None:
    guard, wrong, right = RemovalGuard(), uuid4(), uuid4()
    for _ in range(UNPROVEN + 1):
        guard.allows(wrong, WRONG_TOKEN)
    assert guard.allows(right, WRONG_TOKEN)
