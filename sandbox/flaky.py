"""Tokens that fail twice and then succeed."""

from __future__ import annotations

from collections import OrderedDict

FAILURES = 2
_REMEMBERED = 100_000


class Flaky:
    """Counts failures by token and push, so that pushes to one device don't spend each other's."""

    def __init__(self) -> None:
        self._failed: OrderedDict[tuple[str, bytes | None], int] = OrderedDict()

    def fails(self, token: str, push_id: bytes | None) -> bool:
        """Whether this attempt fails; after the one that does not, the count begins anew."""
        key = (token, push_id)
        failed = self._failed.pop(key, 0)
        if failed >= FAILURES:
            return False
        self._failed[key] = failed + 1
        if len(self._failed) > _REMEMBERED:
            self._failed.popitem(last=False)
        return True
