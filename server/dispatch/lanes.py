"""The way of pushes to their providers: so many under way for each credential, urgent ones first, none while it rests.

One lane for each version of a credential. Kept in this process: each learns from its own calls.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from server.dispatch.pace import Pace
from server.domain.credentials import SealedCredential
from server.domain.outcomes import Accepted, CredentialRefused, NotSent, Outcome, Rejected, Scope, Throttled, Unknown
from server.domain.projects import Project
from server.domain.reasons import Reason
from server.domain.retry import LONGEST_RETRY_AFTER

UNDER_WAY = 1000  # pushes of one credential at once
PATIENCE = 1.0  # seconds that a push may wait for its turn before its job gives way to others
FIRST_REST = 1.0  # seconds, doubled with each failure after a rest
REFUSED_REST = 30.0  # seconds, doubled with each refusal in a row
LONGEST_REST = 300.0
FAILURES_TO_REST = 50  # pushes in a row without an answer, or refused without a time to come back
WELL_FOR = 60.0  # seconds after which it is told again: another worker may have told otherwise, and be gone
WORTH_TELLING = 5.0  # seconds of rest
JITTER = 0.1  # of a rest, added: workers that were refused together don't come back together
KEPT = 2048  # lanes and paces; beyond, the least recently used is forgotten


@dataclass(frozen=True, slots=True)
class Rest:
    """How long a credential still rests, and what a push fails for that can't wait so long."""

    left: timedelta
    reason: Reason


@dataclass(frozen=True, slots=True)
class Unwell:
    """What a provider says against a credential. ``seconds``: for how long it is throttled; None: it is refused."""

    code: str
    seconds: float | None


Tell = Callable[[SealedCredential, Unwell | None], None]
"""Hears what becomes of a credential: why it is unwell, or None when it is well again."""


def _tell_nobody(credential: SealedCredential, unwell: Unwell | None) -> None:
    """Where nobody wants to know."""


class Lane:
    """One credential's pushes. ``enter_at_once`` or ``enter`` before a call, ``leave`` with what it came to."""

    def __init__(self, credential: SealedCredential, pace: Pace, tell: Tell) -> None:
        self._credential = credential
        self._pace = pace
        self._tell = tell
        self._under_way = 0
        self._urgent: deque[asyncio.Future[Rest | None]] = deque()
        self._others: deque[asyncio.Future[Rest | None]] = deque()
        self._closed_at = 0.0
        self._closed_until = 0.0
        self._reason = Reason.NONE
        self._trying = False  # after a rest one push goes ahead of the others
        self._refusals = 0  # in a row
        self._failures = 0  # in a row
        self._unwell = True  # for all that this process knows: another may have told so
        self._well_at = 0.0  # when it was last told that it is not
        self._timer: asyncio.TimerHandle | None = None

    def rest(self, *, urgent: bool = False) -> Rest | None:
        """Return why a push had better not wait here, or None when it may enter."""
        now = time.monotonic()
        if self._closed_until > now:
            return Rest(timedelta(seconds=self._closed_until - now), self._reason)
        if self._trying and self._under_way:  # until it is known how that one fares
            return self._a_moment(PATIENCE, self._reason)
        ahead = len(self._urgent) + (0 if urgent else len(self._others))
        wait = self._pace.delay(now) + ahead / self._pace.rate(now)
        if wait > PATIENCE:
            return self._a_moment(wait, Reason.EXPIRED)
        return None

    @staticmethod
    def _a_moment(seconds: float, reason: Reason) -> Rest:
        return Rest(timedelta(seconds=seconds * random.uniform(1.0, 2.0)), reason)  # noqa: S311 # spreads load

    def enter_at_once(self) -> bool:
        """Enter if there is room and nobody waits for it."""
        now = time.monotonic()
        return self._closed_until <= now and not self._others and not self._urgent and self._may_begin(now)

    async def enter(self, *, urgent: bool) -> Rest | None:
        """Wait for this push's turn; who gets a Rest instead has not entered and need not leave."""
        rest = self.rest(urgent=urgent)
        if rest is not None:
            return rest
        turn: asyncio.Future[Rest | None] = asyncio.get_running_loop().create_future()
        (self._urgent if urgent else self._others).append(turn)
        self._admit()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result() is None:
                self.leave(None)
            raise

    def leave(self, outcome: Outcome | None, begun_at: float = 0.0) -> None:
        """End a push: None when no call was made after all. ``begun_at`` is when it entered (monotonic)."""
        self._under_way -= 1
        if outcome is not None:
            self._learn(outcome, begun_at)
        if self._urgent or self._others:
            self._admit()

    def _may_begin(self, now: float) -> bool:
        """Begin a push if there is room now."""
        room = 1 if self._trying else UNDER_WAY
        if self._under_way >= room or self._pace.delay(now) > 0:
            return False
        self._under_way += 1
        self._pace.begin(now)
        return True

    def _admit(self) -> None:
        """Let those in that may go now; wake up when the pace allows the next."""
        now = time.monotonic()
        while turns := self._urgent or self._others:
            if turns[0].done():  # given up
                turns.popleft()
            elif self._may_begin(now):
                turns.popleft().set_result(None)
            else:
                self._admit_later(self._pace.delay(now))
                return

    def _admit_later(self, seconds: float) -> None:
        if seconds > 0 and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._admit()

    def _learn(self, outcome: Outcome, begun_at: float) -> None:
        match outcome:
            case Throttled(scope=Scope.CREDENTIAL | Scope.PROJECT, retry_after=float(asked)) if asked > 0:
                self._throttled(outcome, asked, begun_at)
            case Throttled(scope=Scope.CREDENTIAL | Scope.PROJECT):  # one server of many that had a bad moment?
                self._failed(begun_at)
            case CredentialRefused(scope=Scope.CREDENTIAL):
                self._refused(outcome, begun_at)
            case NotSent() | Unknown():
                self._failed(begun_at)
            case Rejected(called=False):  # nobody was asked
                pass
            case _ if begun_at >= self._closed_at:  # what began before a rest says nothing about the time after it
                self._trying = False
                self._failures = self._refusals = 0
                if isinstance(outcome, Accepted) and (self._unwell or begun_at > self._well_at + WELL_FOR):
                    self._unwell, self._well_at = False, begun_at
                    self._tell(self._credential, None)

    def _throttled(self, outcome: Throttled, asked: float, begun_at: float) -> None:
        alone = self._trying  # the one that goes ahead after a rest says nothing about the pace
        seconds = self._close(min(asked, LONGEST_RETRY_AFTER), Reason.EXPIRED)
        if outcome.scope is Scope.PROJECT and not alone:
            now = time.monotonic()
            self._pace.refuse(begun_at, now, now + seconds)
        if seconds >= WORTH_TELLING:
            self._say(Unwell(outcome.code, seconds))

    def _refused(self, outcome: CredentialRefused, begun_at: float) -> None:
        self._refusals += begun_at >= self._closed_at
        self._close(min(REFUSED_REST * 2 ** max(self._refusals - 1, 0), LONGEST_REST), Reason.CREDENTIAL_REJECTED)
        self._reason = Reason.CREDENTIAL_REJECTED  # though a longer rest stays: new content ends both
        self._say(Unwell(outcome.code, None))

    def _failed(self, begun_at: float) -> None:
        """A provider that fails all of many rests too: its jobs make room for those of others."""
        if begun_at < self._closed_at:
            return
        self._failures += 1
        if self._trying or self._failures >= FAILURES_TO_REST:
            in_a_row = max(self._failures - FAILURES_TO_REST, 0)
            self._close(min(FIRST_REST * 2 ** min(in_a_row, 10), REFUSED_REST), Reason.EXPIRED)

    def _say(self, unwell: Unwell) -> None:
        self._unwell = True
        self._tell(self._credential, unwell)

    def _close(self, seconds: float, reason: Reason) -> float:
        """Send everybody away for a while; a longer rest stays. Return for how long it is closed."""
        now = time.monotonic()
        until = now + seconds * random.uniform(1.0, 1.0 + JITTER)  # noqa: S311 # spreads load, hides nothing
        if until > self._closed_until:
            self._closed_until, self._reason = until, reason
        self._closed_at = now
        self._trying = True
        rest = Rest(timedelta(seconds=self._closed_until - now), self._reason)
        for turns in (self._urgent, self._others):
            while turns:
                turn = turns.popleft()
                if not turn.done():
                    turn.set_result(rest)
        return self._closed_until - now


class Lanes:
    """The lanes of all credentials in use, and the paces of their projects."""

    def __init__(self, tell: Tell = _tell_nobody) -> None:
        self._tell = tell
        self._lanes: OrderedDict[tuple[UUID, int], Lane] = OrderedDict()
        self._paces: OrderedDict[str, Pace] = OrderedDict()

    def of(self, credential: SealedCredential, project: Project | None) -> Lane:
        """Return the lane of this version of the credential. A project's credentials share its pace."""
        key = (credential.credential_id, credential.version)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(credential, self._pace(project), self._tell)
            if len(self._lanes) > KEPT:
                self._lanes.popitem(last=False)
        self._lanes.move_to_end(key)
        return lane

    def _pace(self, project: Project | None) -> Pace:
        if project is None:
            return Pace()
        pace = self._paces.get(project.name)
        if pace is None:
            pace = self._paces[project.name] = Pace(project.quota)
            if len(self._paces) > KEPT:
                self._paces.popitem(last=False)
        self._paces.move_to_end(project.name)
        return pace
