"""The one error a caller of the launcher has to know."""

from __future__ import annotations


class LocalPostgresError(RuntimeError):
    """The embedded server can't be used here; the text says why and what an operator can do about it."""
