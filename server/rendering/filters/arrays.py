"""Filters on lists. A single value counts as a list of one, what is missing as an empty list."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterator
from functools import cmp_to_key
from typing import Any

from liquid.undefined import Undefined

from server.rendering.filters.texts import count
from server.rendering.limits import check_length
from server.rendering.values import (
    MISSING,
    equals,
    is_missing,
    is_truthy,
    joined,
    less,
    lookup,
    number,
    string,
    text,
    tidy,
    utf16_length,
)


def _items(value: object) -> list[object]:
    if isinstance(value, list):
        return value
    return [] if is_missing(value) else [value]


def join(value: object, separator: object = None) -> str:
    items, between = _items(value), " " if is_missing(separator) else text(separator)
    check_length(len(between) * max(len(items) - 1, 0))
    return joined(items, between)


def first(value: object) -> object:
    return value[0] if isinstance(value, list | str) and value else _nothing(value)


def last(value: object) -> object:
    return value[-1] if isinstance(value, list | str) and value else _nothing(value)


def _nothing(value: object) -> object:
    return MISSING if isinstance(value, list) else ""


def size(value: object) -> int:
    if isinstance(value, str):
        return utf16_length(value)
    return len(value) if isinstance(value, list) else 0


def reverse(value: object) -> list[object]:
    return _items(value)[::-1]


def concat(value: object, other: object = None) -> list[object]:
    return [*_items(value), *_items(other)]


def push(value: object, item: object = None) -> list[object]:
    return [*_items(value), item]


def unshift(value: object, item: object = None) -> list[object]:
    return [item, *_items(value)]


def pop(value: object) -> list[object]:
    return _items(value)[:-1]


def shift(value: object) -> list[object]:
    return _items(value)[1:]


def compact(value: object) -> list[object]:
    return [item for item in _items(value) if not is_missing(item)]


def slice_of(value: object, begin: object = None, length: object = None) -> object:
    """``length`` items or characters from ``begin`` on, which counts from the end when it is negative."""
    whole = value if isinstance(value, list) else [] if is_missing(value) else text(value)
    start, wanted = count(begin, 0), count(length, 1)
    if start < 0:
        start += len(whole)
    return whole[:0] if start < 0 or wanted < 0 else whole[start : start + wanted]


def mapped(value: object, path: object) -> list[object]:
    return [lookup(item, text(path)) for item in _items(value)]


def array_to_sentence_string(value: object, connector: object = "and") -> object:
    items = _items(value)
    if len(items) < 2:  # noqa: PLR2004  # one item needs no connector
        return items[0] if items else ""
    if len(items) == 2:  # noqa: PLR2004  # two need no comma
        return f"{string(items[0])} {text(connector)} {string(items[1])}"
    return f"{joined(items[:-1], ', ')}, {text(connector)} {string(items[-1])}"


def total(value: object, path: object = None) -> float:
    numbers = (number(item if is_missing(path) else lookup(item, text(path))) for item in _items(value))
    return tidy(sum((item for item in numbers if item == item), 0.0))  # noqa: PLR0124  # NaN is not itself


def sort(value: object, path: object = None) -> list[object]:
    """In ascending order, the missing last. Values that can't be compared stay where they are, as far as that goes."""
    return _sorted(_items(value), path, lambda item: item)


def sort_natural(value: object, path: object = None) -> list[object]:
    return _sorted(_items(value), path, lambda item: string(item).lower())


def _sorted(items: list[object], path: object, form: Callable[[object], object]) -> list[object]:
    by = cmp_to_key(_order)
    keys = [item if is_missing(path) else lookup(item, text(path)) for item in items]
    ranks = [by(None if is_missing(key) else form(key)) for key in keys]
    return [items[index] for index in sorted(range(len(items)), key=ranks.__getitem__)]


def _order(left: object, right: object) -> int:
    if left is None or right is None:
        return (left is None) - (right is None)
    return less(right, left) - less(left, right)


def uniq(value: object) -> list[object]:
    """Every value once, the first of each; lists and hashes are equal only to themselves."""
    kept: dict[Hashable, object] = {}
    for item in _items(value):
        kept.setdefault(_identity(item), item)
    return list(kept.values())


def _identity(item: object) -> Hashable:
    return (isinstance(item, bool), item) if isinstance(item, Hashable) else id(item)


def _matching(value: object, path: object, expected: object) -> Iterator[tuple[int, object]]:
    """The items whose property is as expected, or just there and not false where nothing is expected."""
    for index, item in enumerate(_items(value)):
        found = lookup(item, text(path))
        if is_truthy(found) if isinstance(expected, Undefined) else equals(found, expected):
            yield index, item


def where(value: object, path: object, expected: object = MISSING) -> list[object]:
    return [item for _, item in _matching(value, path, expected)]


def reject(value: object, path: object, expected: object = MISSING) -> list[object]:
    matching = {index for index, _ in _matching(value, path, expected)}
    return [item for index, item in enumerate(_items(value)) if index not in matching]


def find(value: object, path: object, expected: object = MISSING) -> object:
    return next((item for _, item in _matching(value, path, expected)), MISSING)


def find_index(value: object, path: object, expected: object = MISSING) -> object:
    return next((index for index, _ in _matching(value, path, expected)), MISSING)


def has(value: object, path: object, expected: object = MISSING) -> bool:
    return any(True for _ in _matching(value, path, expected))


def group_by(value: object, path: object) -> list[object]:
    """A list of ``{name, items}``, in the order in which the names first appear."""
    groups: dict[Hashable, dict[str, Any]] = {}
    for item in _items(value):
        name = lookup(item, text(path))
        groups.setdefault(_identity(name), {"name": name, "items": []})["items"].append(item)
    return list(groups.values())


def sample(value: object, wanted: object = None) -> object:
    """``wanted`` items or characters by chance; the item itself where that is 1 or not said."""
    whole = value if isinstance(value, list) else [] if is_missing(value) else list(text(value))
    chosen = random.sample(whole, min(max(count(wanted, 1), 0), len(whole)))
    if count(wanted, 1) == 1:
        return chosen[0] if chosen else None
    return chosen


FILTERS: dict[str, Callable[..., Any]] = {
    "array_to_sentence_string": array_to_sentence_string,
    "compact": compact,
    "concat": concat,
    "find": find,
    "find_index": find_index,
    "first": first,
    "group_by": group_by,
    "has": has,
    "join": join,
    "last": last,
    "map": mapped,
    "pop": pop,
    "push": push,
    "reject": reject,
    "reverse": reverse,
    "sample": sample,
    "shift": shift,
    "size": size,
    "slice": slice_of,
    "sort": sort,
    "sort_natural": sort_natural,
    "sum": total,
    "uniq": uniq,
    "unshift": unshift,
    "where": where,
}
