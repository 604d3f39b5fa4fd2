"""Gathers what is wrong with a request, so that the caller learns all of it at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from server.domain.errors import Invalid, Violation

T = TypeVar("T")


class Problems:
    """The violations found so far: first those of ``rules``, about whose fields nothing more is said."""

    def __init__(self, rules: Iterable[Violation] = ()) -> None:
        self.violations: list[Violation] = list(rules)
        self._broken = {violation.field for violation in self.violations}

    def collect(self, check: Callable[[], T]) -> T | None:
        """Return what the check returns, or None when it raised ``Invalid``."""
        try:
            return check()
        except Invalid as error:
            self.add(error)
            return None

    def add(self, error: Invalid) -> None:
        self.violations.extend(found for found in error.violations if found.field not in self._broken)

    def raise_any(self) -> None:
        """Raise ``Invalid`` if anything was found."""
        if self.violations:
            raise Invalid(*self.violations)
