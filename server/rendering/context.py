"""One render of one text: variables looked up as LiquidJS does, filters called on JSON values, all on the meter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from io import StringIO
from typing import TextIO

from liquid.context import RenderContext
from liquid.template import BoundTemplate
from liquid.token import Token
from liquid.utils import ReadOnlyChainMap

from server.rendering.filters import WEIGHTS
from server.rendering.limits import MAX_TEXT, Meter, check_length
from server.rendering.values import MISSING, plain, property_of, text


class Buffer(StringIO):
    """Takes a limited number of characters."""

    def __init__(self, limit: int) -> None:
        super().__init__(newline="\n")  # line ends stay as they are
        self.limit = limit
        self.size = 0

    def write(self, shown: str, /) -> int:
        """Appends. Raises ResourceLimitError beyond the limit."""
        self.size += len(shown)
        check_length(self.size, self.limit)
        return super().write(shown)


class Context(RenderContext):
    """Raises ResourceLimitError wherever the render has cost too much."""

    __slots__ = ("meter",)

    def __init__(self, template: BoundTemplate, variables: Mapping[str, object], meter: Meter) -> None:
        super().__init__(template, globals=variables)
        self.meter = meter
        self.scope = ReadOnlyChainMap(self.locals, variables, self.counters)  # without python-liquid's now and today

    def assign(self, key: str, val: object) -> None:
        """Sets a template's own variable. Every value kept is paid for, so the meter bounds the memory as well."""
        self.meter.charge(val)
        self.locals[key] = val

    def filter(self, name: str, token: Token | None) -> Callable[..., object]:  # noqa: ARG002  # names are checked
        """The filter by that name."""
        return partial(self._filtered, self.env.filters[name], WEIGHTS.get(name, 1))

    def _filtered(self, function: Callable[..., object], weight: int, *arguments: object, **named: object) -> object:
        before = self.meter.left
        for argument in arguments:
            self.meter.charge(argument)
        self.meter.spend((before - self.meter.left) * (weight - 1))
        return function(*map(plain, arguments), **named)  # whoever takes the result pays for it

    def get(self, path: list[object], *, token: Token | None, default: object = MISSING) -> object:  # noqa: ARG002
        """The value at a path, MISSING if there is none."""
        root, *keys = path
        try:
            value = self.scope[str(root)]
            for key in keys:
                self._charge_text(value)
                value = property_of(value, key)
        except KeyError:
            return default
        return value

    def _charge_text(self, value: object) -> None:
        if isinstance(value, str):
            self.meter.charge(value)  # to know its size, it is encoded

    def get_buffer(self, buf: TextIO | None = None) -> StringIO:
        """Where a block's text is collected, within what is left of the limit."""
        return Buffer(MAX_TEXT - (buf.size if isinstance(buf, Buffer) else 0))

    def text(self, value: object) -> str:
        """What a value prints."""
        self.meter.charge(value)
        return text(value)
