"""What closes a credential's gate, for how long, and that the others stay open."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from server.dispatch import gates as gates_module
from server.dispatch.gates import Gates
from server.domain.outcomes import (
    Accepted,
    CredentialRefused,
    NotSent,
    Outcome,
    Rejected,
    Scope,
    Throttled,
    Unknown,
)
from server.domain.reasons import Reason

_MINE, _OTHER = uuid4(), uuid4()


class _Time:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Time:
    clock = _Time()
    monkeypatch.setattr(gates_module, "time", clock)
    return clock


@pytest.mark.parametrize(
    ("outcome", "seconds", "reason"),
    [
        (Throttled("429", 20.0), 20.0, Reason.EXPIRED),
        (Throttled("429"), 1.0, Reason.EXPIRED),
        (Throttled("429", 1e9), 3600.0, Reason.EXPIRED),
        (CredentialRefused("401"), 30.0, Reason.CREDENTIAL_REJECTED),
    ],
)
def test_i12_an_answer_about_the_credential_closes_its_gate_alone(
    clock: _Time, outcome: Outcome, seconds: float, reason: Reason
) -> None:
    gates = Gates()
    gates.learn(_MINE, outcome)
    rest = gates.rest(_MINE)
    assert rest is not None
    assert (rest.left, rest.reason) == (timedelta(seconds=seconds), reason)
    assert gates.rest(_OTHER) is None
    clock.now += seconds - 0.5
    assert gates.rest(_MINE) is not None
    clock.now += 0.5
    assert gates.rest(_MINE) is None


@pytest.mark.parametrize(
    "outcome",
    [
        Accepted("m"),
        Rejected(Reason.UNREGISTERED, "404"),
        NotSent("CONNECT"),
        Unknown("TIMEOUT"),
        Throttled("429", 60.0, Scope.DEVICE),
    ],
)
def test_an_answer_about_one_device_closes_nothing(outcome: Outcome) -> None:
    gates = Gates()
    gates.learn(_MINE, outcome)
    assert gates.rest(_MINE) is None


def test_i11_a_shorter_rest_does_not_end_a_longer_one(clock: _Time) -> None:
    gates = Gates()
    gates.learn(_MINE, Throttled("429", 60.0))
    gates.learn(_MINE, CredentialRefused("401"))
    rest = gates.rest(_MINE)
    assert rest is not None
    assert (rest.left, rest.reason) == (timedelta(seconds=60), Reason.EXPIRED)
    clock.now += 45
    gates.learn(_MINE, CredentialRefused("401"))
    rest = gates.rest(_MINE)
    assert rest is not None
    assert (rest.left, rest.reason) == (timedelta(seconds=30), Reason.CREDENTIAL_REJECTED)
