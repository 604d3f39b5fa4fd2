"""What a kill -9 may repeat, and nothing else may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Final

from server.dispatch.job_run import WIDTH
from server.dispatch.recording import FLUSH_PUSHES
from server.dispatch.worker import Slots
from server.domain.operations import BATCH_SIZE
from tests.acceptance.sandbox_port import Push
from tests.acceptance.story import repeated

# When a send to 10,000 is killed: early enough that much is left, late enough that much is recorded.
EARLIEST: Final = 1_500
LATEST: Final = 8_500


def repeated_at_most(*, workers: int) -> int:
    """What killed workers can have sent without a record of it.

    For each bulk job: the answers of a flush under way and those gathered for the next, before which sending waits,
    and one push for each of its tasks. That is the worst case, with a database that hangs: a flush is due every
    FLUSH_SECONDS, in which one machine sends a tenth of it.
    """
    return workers * Slots().bulk * min(2 * FLUSH_PUSHES + WIDTH, BATCH_SIZE)


def assert_repeats_are_of(
    pushes: Mapping[str, Sequence[Push]], killed_at: datetime, recorded: AbstractSet[str], *, at_most: int
) -> None:
    """What was sent twice is the same push, for once, because of the kill, and nobody was told that it was final."""
    twice = repeated(pushes)
    assert len(twice) <= at_most
    assert not recorded & twice.keys(), "what was told as final was sent again"
    for _, *again in twice.values():
        assert len(again) == 1, "one kill repeats a push once"
        assert again[0].at > killed_at, "repeated before the kill"
