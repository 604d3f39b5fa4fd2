"""Messages that differ only in a few values, as a form: JSON encoded once, with gaps where the values go."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from server.domain.pushes import Presentation, Push

KEPT = 64  # forms


class Form:
    """The JSON of one message, cut at values of its own, at least two. What else is in it may not look like them."""

    __slots__ = ("_form", "_in_order")

    def __init__(self, encoded: bytes, own: Sequence[bytes]) -> None:
        pieces = re.split(b"(" + b"|".join(map(re.escape, own)) + b")", encoded)
        self._form = b"%b".join(piece.replace(b"%", b"%%") for piece in pieces[::2])
        self._in_order: Callable[[Sequence[bytes]], tuple[bytes, ...]]
        self._in_order = itemgetter(*(own.index(value) for value in pieces[1::2]))

    def filled(self, own: Sequence[bytes]) -> bytes:
        """The JSON with another message's values, given in the same order."""
        return self._form % self._in_order(own)


class _Kept(NamedTuple):
    """Holds what its key names by identity, for as long as the key is in use."""

    presentation: Presentation
    overrides: Mapping[str, Any]
    form: Form | None


class Forms:
    """The forms of the sends that are under way: their pushes have the same presentation and overrides, as objects."""

    def __init__(self, make: Callable[[Push], Form]) -> None:
        self._make = make
        self._kept: dict[Hashable, _Kept] = {}

    def form_of(self, push: Push, shape: Hashable) -> Form | None:
        """The form for a push of this shape, None for the first: one push alone is not worth a form."""
        presentation, overrides = push.presentation, push.overrides
        key = (id(presentation), id(overrides) if overrides else 0, shape)
        kept = self._kept.get(key)
        if kept is None:
            self._keep(key, _Kept(presentation, overrides, None))
            return None
        if kept.form is None:
            kept = self._kept[key] = _Kept(presentation, overrides, self._make(push))
        return kept.form

    def _keep(self, key: Hashable, kept: _Kept) -> None:
        if len(self._kept) >= KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = kept
