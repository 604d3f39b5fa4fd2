"""Named SQL statements, read once from the .sql files beside the modules that run them."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

_NAME = re.compile(r"^-- name: ([a-z_]+)$", re.MULTILINE)


class Statements:
    """The statements of one file, as attributes: ``Statements("jobs").claim`` is the text below ``-- name: claim``."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._texts = _read(file)

    def __getattr__(self, name: str) -> str:
        try:
            return self._texts[name]
        except KeyError:
            raise AttributeError(f"sql/{self._file}.sql has no statement {name!r}") from None

    def names(self) -> tuple[str, ...]:
        """Return the names in the file's order."""
        return tuple(self._texts)


def files() -> tuple[str, ...]:
    """Return the names of all statement files, for the test that prepares each statement."""
    folder = resources.files("server.store") / "sql"
    return tuple(sorted(entry.name.removesuffix(".sql") for entry in folder.iterdir() if entry.name.endswith(".sql")))


@cache
def _read(file: str) -> dict[str, str]:
    text = (resources.files("server.store") / "sql" / f"{file}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    return {name: body.strip().removesuffix(";") for name, body in zip(parts[::2], parts[1::2], strict=True)}
