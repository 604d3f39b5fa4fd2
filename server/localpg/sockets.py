"""Where the server's unix socket lies: a folder only its owner can enter, with a path short enough for the kernel."""

from __future__ import annotations

import hashlib
import stat
from contextlib import suppress
from pathlib import Path

from server.localpg.errors import LocalPostgresError
from server.localpg.identity import Identity

_SOCKET = ".s.PGSQL.5432"
_LONGEST = 103  # bytes of a socket's path on the strictest system (macOS; Linux has 107, unix(7))
_SHORT = Path("/tmp")  # noqa: S108 - every process must find the same place whatever its TMPDIR, and owner and mode are checked


def socket_folder(cluster: Path) -> Path:
    """The cluster's own folder, or a short one named after it where that can't serve as a socket's address.

    A comma in the path would read as a list of folders, to the server and to its clients.
    """
    path = str(cluster)
    if len(f"{path}/{_SOCKET}".encode()) <= _LONGEST and "," not in path:
        return cluster
    return _SHORT / f"pharos-{hashlib.sha256(path.encode()).hexdigest()[:16]}"


def claim(folder: Path, who: Identity) -> None:
    """Make the folder if it is missing. Raises LocalPostgresError where somebody else had it first."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        who.own(folder)
    if not is_private(folder, who.owner()):
        raise LocalPostgresError(f"{folder} is meant for the server's socket but others can write there; remove it")


def is_private(folder: Path, owner: int) -> bool:
    """Whether it is a real folder of this uid that nobody else could have put a socket into."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == owner and not found.st_mode & 0o022


def clear(folder: Path) -> None:
    """Remove what a killed server left: its socket's lock file may name a process id that another program has now."""
    for name in (_SOCKET, f"{_SOCKET}.lock"):
        (folder / name).unlink(missing_ok=True)


def release(folder: Path, cluster: Path) -> None:
    if folder != cluster:
        with suppress(OSError):  # not empty or already gone: the next start claims it as it is
            folder.rmdir()
