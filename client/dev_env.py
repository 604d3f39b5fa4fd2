"""The dev.env file: unquoted KEY=VALUE lines that a shell, a container and the client can read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def read_env_file(path: Path) -> dict[str, str]:
    """The file's variables. Empty lines and `#` comments are skipped, an `export ` in front is dropped."""
    variables: dict[str, str] = {}
    for line in path.read_text("utf-8").splitlines():
        name, separator, value = line.strip().removeprefix("export ").partition("=")
        if separator and not name.startswith("#"):
            variables[name.strip()] = value.strip()
    return variables


def write_env_file(path: Path, variables: Mapping[str, str]) -> None:
    """Replaces the file in one step. It holds a secret: only its owner may read it, at no moment anyone else."""
    text = "".join(f"{name}={value}\n" for name, value in variables.items())
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
