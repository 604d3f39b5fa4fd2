"""The cases as files have them: see README.md for the form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

_MORE: Final = {"times", "at_once", "lacks", "walk"}
FOLDER: Final = Path(__file__).parent
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
_SENT: Final = {"json", "text", "headers", "auth", "query"}
_OF_ITS_OWN: Final = {"finish", "pushes", "messages", "rules"}
_CHECKED: Final = {"events", "within", "status", "json", "contains", "errors", "code", "headers", "save"}


@dataclass(frozen=True)
class Case:
    """One statement of the contract with the steps that show it."""

    file: str
    about: str
    says: str
    steps: list[dict[str, Any]]

    @property
    def name(self) -> str:
        return f"{self.file}: {self.says}"


def all_cases() -> list[Case]:
    """Every case of every file. Raises ValueError for a file that does not keep to the form."""
    return [case for path in sorted((FOLDER / "cases").glob("*.yaml")) for case in _cases(path)]


def _cases(path: Path) -> Iterator[Case]:
    document = _read(path)
    for entry in document["cases"]:
        unknown = entry.keys() - {"says", "given", "steps"}
        if unknown or document.keys() != {"about", "cases"}:
            raise ValueError(f"{path.name}: {entry.get('says')}: unknown keys {sorted(unknown)}")
        steps = [*_setups(entry.get("given", ())), *entry["steps"]]
        for step in steps:
            _check(step, path)
        yield Case(path.stem, document["about"], entry["says"], steps)


def _setups(names: list[str]) -> Iterator[dict[str, Any]]:
    known = _read(FOLDER / "setups.yaml")
    for name in names:
        yield from known[name]


def _check(step: dict[str, Any], path: Path) -> None:
    if step.keys() & _OF_ITS_OWN:
        unknown = step.keys() if len(step) > 1 else set()
    else:
        unknown = step.keys() - _CHECKED - _MORE - {"send"} - set(METHODS) | (step.get("send", {}).keys() - _SENT)
        if "status" not in step or len(step.keys() & set(METHODS)) != 1:
            raise ValueError(f"{path.name}: a step needs one method and a status: {step}")
    if unknown:
        raise ValueError(f"{path.name}: unknown keys {sorted(unknown)} in {step}")


@cache
def _read(path: Path) -> Any:
    """By libyaml: in Python alone, all files take seconds."""
    return yaml.load(path.read_text("utf-8"), yaml.CSafeLoader)
