"""One PostgreSQL server per data folder: its first process owns it and takes it along, the others attach."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from server.localpg import sockets
from server.localpg.binaries import Installation, find_installation
from server.localpg.cluster import SUPERUSER, Cluster
from server.localpg.errors import LocalPostgresError
from server.localpg.identity import environment, identities
from server.localpg.leftovers import end_leftovers, recorded_pid
from server.localpg.postmaster import Postmaster
from server.localpg.sessions import accepts_sessions, create_database

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.5


class LocalPostgres:
    """A private PostgreSQL in ``data_dir``, for one machine.

    It listens on a unix socket alone, of mode 0700 in a folder of mode 0700, and trusts whoever can open it: the
    operating system decides that, with nothing to keep secret. The server ends with the process that owns it, also
    when that is killed (on Linux; elsewhere ``stop`` has to be called). All methods block: from asyncio call them
    with ``asyncio.to_thread``. One object is for one caller at a time.
    """

    def __init__(self, data_dir: Path) -> None:
        self._cluster = Cluster(data_dir.expanduser().resolve())
        self._sockets = sockets.socket_folder(self._cluster.path)
        self._lock: int | None = None
        self._postmaster: Postmaster | None = None

    def start(self, timeout: float = 300.0) -> bool:
        """Have a server that takes sessions. True: this process owns it. False: another does, and we are attached.

        Called again it answers the same, or takes over where the server or its owner is gone. A recovery after a
        crash is waited for. Raises TimeoutError after ``timeout`` seconds and LocalPostgresError where no server can
        run; a server that this call began does not stay behind then.
        """
        deadline = time.monotonic() + timeout
        if self._postmaster is not None and self._becomes_ready(self._postmaster, deadline):
            return True
        self.stop()
        self._cluster.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        pauses = _pauses(deadline, self._cluster.path)
        while not self._take_lock():
            if self._answers():
                return False
            time.sleep(next(pauses))
        self._start_owned(deadline)
        return True

    def dsn(self, database: str = "postgres") -> str:
        """The address of a database as asyncpg and libpq read it; known before the server runs."""
        return f"postgresql://{SUPERUSER}@/{quote(database, safe='')}?host={quote(str(self._sockets))}&port=5432"

    def ended(self, timeout: float) -> bool:
        """True if the server that this process owns has ended, at the latest after ``timeout`` seconds."""
        postmaster = self._postmaster
        return postmaster is not None and postmaster.wait(timeout)

    def ensure_database(self, name: str) -> None:
        """Create the database if it is missing. Raises asyncpg's errors where the server can't be reached."""
        create_database(self.dsn(), name)

    def stop(self, timeout: float = 30.0) -> None:
        """End the server if this process owns it; sessions are cut after ``timeout`` seconds at the latest."""
        if self._postmaster is not None:
            self._postmaster.stop(timeout)
            self._postmaster = None
            sockets.release(self._sockets, self._cluster.path)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _take_lock(self) -> bool:
        """The kernel frees it when its holder dies, so that it is never stale. The server does not inherit it."""
        descriptor = os.open(self._cluster.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    def _answers(self) -> bool:
        """Whether the owner's server is up. A socket that somebody else may have put there is not asked."""
        with suppress(FileNotFoundError):
            owner = self._cluster.path.stat().st_uid
            return sockets.is_private(self._sockets, owner) and accepts_sessions(self.dsn())
        return False

    def _start_owned(self, deadline: float) -> None:
        try:
            self._run(self._prepare(deadline), deadline)
        except BaseException:
            self.stop()
            raise

    def _prepare(self, deadline: float) -> Installation:
        cluster = self._cluster
        made_by = cluster.major()
        home = cluster.folder if made_by is None else cluster.path
        installation = find_installation(identities(home, has_data=made_by is not None), made_by)
        if made_by is None:
            cluster.create(installation, deadline)
        installation.who.own(cluster.lock)
        cluster.write_settings(installation)
        end_leftovers(cluster.path, deadline)
        sockets.claim(self._sockets, installation.who)
        sockets.clear(self._sockets)
        return installation

    def _run(self, installation: Installation, deadline: float) -> None:
        position = self._cluster.open_log()
        self._postmaster = self._fork(installation)
        if not self._becomes_ready(self._postmaster, deadline):
            raise LocalPostgresError(f"PostgreSQL did not start: {self._cluster.log_since(position)}")

    def _fork(self, installation: Installation) -> Postmaster:
        command = installation.who.command(
            installation.folder / "postgres",
            *("-D", str(self._cluster.path), "-k", str(self._sockets), "-h", "", "-p", "5432"),
            *("-c", "unix_socket_permissions=0700"),
        )
        variables = environment()
        if (stale := recorded_pid(self._cluster.path)) is not None:
            # No server runs here, so a live process of that number is another program: a container's restart gives
            # out the same small numbers. PostgreSQL asks only whether such a process lives, except for this number.
            variables["PG_GRANDPARENT_PID"] = str(stale)
        return Postmaster(command, variables, self._cluster.log)

    def _becomes_ready(self, postmaster: Postmaster, deadline: float) -> bool:
        """False if it ends instead."""
        pauses = _pauses(deadline, self._cluster.path)
        while not accepts_sessions(self.dsn()):
            if postmaster.wait(next(pauses)):
                return False
        return True


def _pauses(deadline: float, cluster: Path) -> Iterator[float]:
    """Seconds between two questions, longer and longer: a server in recovery logs each one."""
    pause = _FIRST_PAUSE
    while time.monotonic() < deadline:
        yield pause
        pause = min(pause * 1.5, _LONGEST_PAUSE)
    raise TimeoutError(f"the server in {cluster} does not take sessions yet")
