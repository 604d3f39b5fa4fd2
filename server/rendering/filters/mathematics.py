"""Arithmetic in JavaScript's doubles: dividing by zero is Infinity, what is no number counts as 0."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from server.rendering.values import MAX_SAFE_INTEGER, number, number_text, tidy


def _operand(value: object) -> float:
    operand = number(value)
    return 0.0 if math.isnan(operand) else operand


def _divide(left: float, right: float) -> float:
    if right:
        return left / right
    return math.nan if left == 0 or math.isnan(left) else math.copysign(math.inf, left) * math.copysign(1, right)


def _remainder(left: float, right: float) -> float:
    """JavaScript's ``%``: the sign is the left side's."""
    return math.nan if right == 0 or math.isinf(left) else math.fmod(left, right)


def plus(value: object, other: object) -> float:
    return tidy(_operand(value) + _operand(other))


def minus(value: object, other: object) -> float:
    return tidy(_operand(value) - _operand(other))


def times(value: object, other: object) -> float:
    return tidy(_operand(value) * _operand(other))


def divided_by(value: object, other: object, whole: object = None) -> float:
    quotient = _divide(_operand(value), _operand(other))
    return floor(quotient) if _operand(whole) else tidy(quotient)


def modulo(value: object, other: object) -> float:
    left, right = _operand(value), _operand(other)
    return tidy(_remainder(_remainder(left, right) + right, right))


def absolute(value: object) -> float:
    return tidy(abs(_operand(value)))


def at_least(value: object, other: object) -> float:
    return tidy(max(_operand(value), _operand(other)))


def at_most(value: object, other: object) -> float:
    return tidy(min(_operand(value), _operand(other)))


def ceil(value: object) -> float:
    operand = _operand(value)
    return math.ceil(operand) if math.isfinite(operand) else operand


def floor(value: object) -> float:
    operand = _operand(value)
    return math.floor(operand) if math.isfinite(operand) else operand


def rounded(value: object, places: object = None) -> float:
    """Half away from zero, on the decimal digits that are printed, so 1.005 rounds to 1.01."""
    operand, shift = _operand(value), _operand(places)
    if not (math.isfinite(operand) and shift.is_integer() and abs(shift) <= MAX_SAFE_INTEGER):
        return tidy(operand)
    scaled = _shifted(abs(operand), int(shift))
    if not scaled <= MAX_SAFE_INTEGER:
        return tidy(operand)
    whole = math.floor(scaled)
    nearest = _shifted(whole + (scaled - whole >= 0.5), -int(shift))  # noqa: PLR2004  # a half is what rounding is about
    return tidy(math.copysign(nearest, operand))


def _shifted(value: float, places: int) -> float:
    mantissa, _, exponent = number_text(value).partition("e")
    return float(f"{mantissa}e{int(exponent or 0) + places}")


def to_integer(value: object) -> float:
    """JavaScript's ``Number``, in spite of its name."""
    return tidy(number(value))


FILTERS: dict[str, Callable[..., Any]] = {
    "abs": absolute,
    "at_least": at_least,
    "at_most": at_most,
    "ceil": ceil,
    "divided_by": divided_by,
    "floor": floor,
    "minus": minus,
    "modulo": modulo,
    "plus": plus,
    "round": rounded,
    "times": times,
    "to_integer": to_integer,
}
