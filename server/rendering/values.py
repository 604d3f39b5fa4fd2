"""Values as JavaScript treats them: as text, as numbers, compared. Templates are written against LiquidJS.

A value is what JSON has, plus Liquid's ``empty``, ``blank`` and ranges, and python-liquid's Undefined for the missing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal

from liquid.builtin.expressions.primitive import Blank, Empty
from liquid.builtin.tags.for_tag import ForLoop
from liquid.builtin.tags.tablerow_tag import TableRow
from liquid.undefined import Undefined

MAX_SAFE_INTEGER = 2**53 - 1
_DECIMAL = re.compile(r"[+-]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?", re.ASCII)
_PREFIXED = re.compile(r"0[xX][\da-fA-F]+|0[oO][0-7]+|0[bB][01]+")
_PLAIN_EXPONENTS = range(-6, 21)
_SAME_IN_PYTHON = (1e-4, 1e16)

# Tuples and exact types: unions are built anew at every use, and python-liquid's abstract classes are slow to ask.
_LISTS = (list, tuple, range)
_NUMBERS = (int, float)
_VOIDS = (Empty, Blank)
_LOOPS = (ForLoop, TableRow)
_List = list[object] | tuple[object, ...] | range

MISSING = Undefined("")
"""A filter's argument that is not given; what is not there at all, other than null."""


def is_missing(value: object) -> bool:
    """Null or not there at all."""
    return value is None or type(value) is Undefined


def is_truthy(value: object) -> bool:
    """Only what is missing and false are not; 0 and an empty text are."""
    return not is_missing(value) and value is not False


def plain(value: object) -> object:
    """What a filter gets to see: JSON values, and Undefined."""
    if isinstance(value, (range, tuple)):
        return list(value)
    if type(value) in _VOIDS:
        return ""
    return value


def text(value: object) -> str:
    """What ``{{ value }}`` prints: LiquidJS's ``stringify``."""
    if isinstance(value, str):
        return value
    if isinstance(value, _LISTS):
        return "".join(map(text, value))
    return "" if is_missing(value) or type(value) in _VOIDS else _scalar_text(value)


def joined(values: list[object], separator: str) -> str:
    """JavaScript's ``Array.join``: lists inside of the list are joined by commas."""
    return separator.join(joined(list(value), ",") if isinstance(value, _LISTS) else text(value) for value in values)


def string(value: object) -> str:
    """JavaScript's ``String(value)``; it differs from ``text`` in lists and in what is missing."""
    if value is None:
        return "null"
    if type(value) is Undefined:
        return "undefined"
    return joined(list(value), ",") if isinstance(value, _LISTS) else text(value)


def _scalar_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, _NUMBERS):
        return number_text(value)
    return "[object Object]"


def number_text(number: float) -> str:
    """A number as JavaScript prints it (ECMA-262, Number::toString): 3.0 is 3, 1e21 is 1e+21."""
    if isinstance(number, int) and abs(number) <= MAX_SAFE_INTEGER:
        return str(number)
    number = _double(number)
    if _SAME_IN_PYTHON[0] <= abs(number) < _SAME_IN_PYTHON[1]:
        return repr(number).removesuffix(".0")
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return _finite_text(number)


def _finite_text(number: float) -> str:
    sign, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    if number == 0 or not isinstance(exponent, int):
        return "0"
    figures = "".join(map(str, digits))
    point = len(figures) + exponent
    mantissa = _plain_text(figures, point) if point - 1 in _PLAIN_EXPONENTS else _exponent_text(figures, point)
    return "-" + mantissa if sign else mantissa


def _plain_text(figures: str, point: int) -> str:
    if point <= 0:
        return "0." + "0" * -point + figures
    whole = figures[:point].ljust(point, "0")
    return f"{whole}.{figures[point:]}" if len(figures) > point else whole


def _exponent_text(figures: str, point: int) -> str:
    fraction = f".{figures[1:]}" if len(figures) > 1 else ""
    return f"{figures[0]}{fraction}e{point - 1:+d}"


def _double(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def number(value: object) -> float:
    """JavaScript's ``Number(value)``: NaN for what is no number or missing, 0 for null, true is 1."""
    if value is None:
        return 0.0
    if isinstance(value, _NUMBERS):
        return _double(value)
    if type(value) in _VOIDS:
        return 0.0
    if isinstance(value, _LISTS):
        return number(joined(list(value), ","))
    return _parsed(value.strip()) if isinstance(value, str) else math.nan


def _parsed(digits: str) -> float:
    if not digits:
        return 0.0
    if _DECIMAL.fullmatch(digits):
        return float(digits)
    if _PREFIXED.fullmatch(digits):
        return _double(int(digits, 0))
    return {"Infinity": math.inf, "+Infinity": math.inf, "-Infinity": -math.inf}.get(digits, math.nan)


def tidy(number: float) -> float:
    """The same number, an int where it is whole, so that it can also count and index."""
    return int(number) if number.is_integer() and abs(number) <= MAX_SAFE_INTEGER else number


def utf16_length(value: str) -> int:
    """The length as JavaScript counts it: an emoji is two."""
    return len(value) if value.isascii() else len(value.encode("utf-16-le", "surrogatepass")) // 2


def equals(left: object, right: object) -> bool:
    """Liquid's ``==``: no conversions, lists by their items, hashes only with themselves."""
    if type(left) in _VOIDS:
        return _is_void(right, blank=type(left) is Blank)
    if type(right) in _VOIDS:
        return _is_void(left, blank=type(right) is Blank)
    if is_missing(left) or is_missing(right):
        return is_missing(left) and is_missing(right)
    if isinstance(left, _LISTS):
        return isinstance(right, _LISTS) and _all_equal(left, right)
    return _same(left, right)


def _same(left: object, right: object) -> bool:
    if isinstance(left, Mapping):
        return left is right
    return isinstance(left, bool) == isinstance(right, bool) and left == right  # to Python, true is 1


def _all_equal(left: _List, right: _List) -> bool:
    return len(left) == len(right) and all(map(equals, left, right))


def _is_void(value: object, *, blank: bool) -> bool:
    if blank and (is_missing(value) or value is False or (isinstance(value, str) and not value.strip())):
        return True
    return not is_missing(value) and isinstance(value, str | list | tuple | range | Mapping) and not value


def less(left: object, right: object) -> bool:
    """JavaScript's ``<``: two strings by their characters, anything else as numbers, so "20" > 18."""
    if type(left) in _VOIDS or type(right) in _VOIDS:
        return False
    left, right = _primitive(left), _primitive(right)
    if isinstance(left, str) and isinstance(right, str):
        return left < right
    return number(left) < number(right)


def less_or_equal(left: object, right: object) -> bool:
    """JavaScript's ``<=``, which is not the opposite of ``>``: with NaN both are false."""
    if type(left) in _VOIDS or type(right) in _VOIDS:
        return False
    left, right = _primitive(left), _primitive(right)
    if isinstance(left, str) and isinstance(right, str):
        return left <= right
    return number(left) <= number(right)


def _primitive(value: object) -> object:
    is_object = isinstance(value, list | tuple | range | Mapping) and type(value) is not Undefined
    return string(value) if is_object else value


def contains(whole: object, part: object) -> bool:
    """Liquid's ``contains``: a text in a text, an item in a list; a hash contains nothing."""
    if isinstance(whole, str):
        return string(part) in whole
    return isinstance(whole, _LISTS) and any(equals(item, part) for item in whole)


def property_of(value: object, key: object) -> object:
    """``value.key`` or ``value[key]``. Raises KeyError when there is no such thing."""
    if isinstance(value, dict):
        return _entry(value, key if isinstance(key, str) else string(key))
    if isinstance(value, str):
        return utf16_length(value) if key == "size" else value[_index(key, len(value))]
    if isinstance(value, _LISTS):
        return _element(value, key)
    if isinstance(value, _LOOPS):
        return value[string(key)]
    raise KeyError(key)


def _entry(value: Mapping[str, object], key: str) -> object:
    return len(value) if key == "size" and key not in value else value[key]


def _element(value: _List, key: object) -> object:
    if key == "size":
        return len(value)
    position = {"first": 0, "last": -1}.get(key, key) if isinstance(key, str) else key
    length = len(value)
    return value[_index(position, length, negative=True)]


def _index(key: object, length: int, *, negative: bool = False) -> int:
    position = (
        number(key) if isinstance(key, int | float | str) and not isinstance(key, bool) and key != "" else math.nan
    )
    if position < 0 and negative:
        position += length
    if not (position.is_integer() and 0 <= position < length):
        raise KeyError(key)
    return int(position)


def lookup(value: object, path: str) -> object:
    """The value at a dotted path, as filters such as ``map`` take it; MISSING when it is not there."""
    dot = "."
    try:
        while dot:
            key, dot, path = path.partition(".")  # not all of a long path where its first key is not there
            value = property_of(value, key)
    except KeyError:
        return MISSING
    return value
