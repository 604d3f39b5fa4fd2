"""Who the server's programs run as: PostgreSQL refuses root, and nobody's permissions are changed for it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LEASH = Path(__file__).with_name("leash.py")
_ACCOUNTS = ("postgres", "nobody")
_ENVIRONMENT = ("PATH", "HOME", "TZ", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


@dataclass(frozen=True)
class Identity:
    """A user for the server's programs. ``uid`` None keeps ours; ``prefix`` goes before every program."""

    name: str
    uid: int | None = None
    gid: int | None = None
    prefix: tuple[str, ...] = ()

    def command(self, program: Path, *arguments: str) -> list[str]:
        """The program as this user, bound to the life of the *thread* that forks it."""
        user = [str(os.getpid()), str(-1 if self.uid is None else self.uid), str(-1 if self.gid is None else self.gid)]
        return [sys.executable, "-I", "-S", str(_LEASH), *user, *self.prefix, str(program), *arguments]

    def run(self, program: Path, *arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
        """Run the program to its end. Raises subprocess.TimeoutExpired after ``timeout`` seconds."""
        return subprocess.run(  # noqa: S603 - our own argument list, no shell
            self.command(program, *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            cwd="/",
            env=environment(),
            timeout=timeout,
        )

    def own(self, path: Path) -> None:
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def owner(self) -> int:
        """The uid that files of this identity have on disk."""
        return os.geteuid() if self.uid is None else self.uid


def environment() -> dict[str, str]:
    """What the server's programs may see of ours: no PG* setting that would bend them, none of our secrets."""
    return {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}


def identities(folder: Path, *, has_data: bool) -> Iterator[Identity]:
    """The users to try, best first, for an existing ``folder`` that is the cluster or is to hold it.

    Data belongs to one user for good: PostgreSQL refuses a cluster that is not its own.
    """
    if os.geteuid() != 0:
        yield Identity("this user")
        return
    owner = folder.stat()
    if owner.st_uid != 0:
        yield Identity(f"uid {owner.st_uid}, the owner of {folder}", owner.st_uid, owner.st_gid)
        return
    yield from _user_namespace()
    if not has_data:
        yield from _accounts()


def _user_namespace() -> Iterator[Identity]:
    """Root under another number, one that has a name because initdb asks for it: the files stay root's."""
    if entry := next((entry for entry in pwd.getpwall() if entry.pw_uid != 0), None):
        unshare = shutil.which("unshare") or "unshare"  # a missing one is then named where starting it fails
        numbers = (f"--map-user={entry.pw_uid}", f"--map-group={entry.pw_gid}")
        yield Identity("root in a user namespace", prefix=(unshare, "--user", *numbers, "--"))


def _accounts() -> Iterator[Identity]:
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    for name in _ACCOUNTS:
        if entry := known.get(name):
            yield Identity(f"the account {name}", entry.pw_uid, entry.pw_gid)
