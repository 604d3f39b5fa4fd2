"""The folder on disk: made whole or not at all, its version, its settings and its log."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from server.localpg.binaries import Installation
from server.localpg.errors import LocalPostgresError

SUPERUSER = "pharos"
_UNFINISHED = "cluster.new-"
_LOG_BYTES = 16 << 20
_EXCERPT_BYTES = 4000
_SETTINGS = """\
# Written by Pharos at every start. To change a setting, put it below the include in postgresql.conf.
max_connections = 100
shared_buffers = 128MB
max_wal_size = 1GB
fsync = on
full_page_writes = on
synchronous_commit = on
jit = off                        # every statement is short
random_page_cost = 1.1           # flash
autovacuum_naptime = 15s         # the job table turns over all the time
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] '
log_checkpoints = off
log_min_error_statement = panic  # statements and details can hold device tokens
log_error_verbosity = terse
"""


class Cluster:
    """What lies in a data folder: ``cluster/`` (PostgreSQL's own), ``lock`` and ``server.log``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "cluster"
        self.lock = folder / "lock"
        self.log = folder / "server.log"

    def major(self) -> int | None:
        """The PostgreSQL version that made the data; None while there is none."""
        try:
            return int((self.path / "PG_VERSION").read_text().split(".")[0])
        except FileNotFoundError:
            if self.path.exists():
                raise LocalPostgresError(f"{self.path} holds no PostgreSQL data; move it away") from None
            return None
        except ValueError:
            raise LocalPostgresError(f"{self.path / 'PG_VERSION'} names no version: the data is damaged") from None

    def create(self, installation: Installation, deadline: float) -> None:
        """Make it beside its place and move it there when it is whole, so that a crash leaves nothing half-made."""
        self._remove_unfinished()
        if {entry.name for entry in self.folder.iterdir()} <= {self.lock.name, self.log.name}:
            installation.who.own(self.folder)  # nothing in it: it was made, or given to us, for this
        unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self.folder))
        installation.who.own(unfinished)
        _initdb(unfinished, installation, deadline)
        with (unfinished / "postgresql.conf").open("a") as conf:
            conf.write("\ninclude 'pharos.conf'\n")
        unfinished.rename(self.path)
        _sync(self.folder)

    def write_settings(self, installation: Installation) -> None:
        """Rewritten at every start, so that a new release's settings reach old data."""
        conf = self.path / "pharos.conf"
        conf.write_text(_SETTINGS)
        installation.who.own(conf)

    def open_log(self) -> int:
        """Where this run's part of the log begins; an overlong log of earlier runs is put aside."""
        self.log.touch(mode=0o600)
        size = self.log.stat().st_size
        if size <= _LOG_BYTES:
            return size
        self.log.replace(self.log.with_suffix(".log.1"))
        self.log.touch(mode=0o600)
        return 0

    def log_since(self, position: int) -> str:
        with self.log.open("rb") as log:
            log.seek(position)
            return log.read()[-_EXCERPT_BYTES:].decode(errors="replace").strip()

    def _remove_unfinished(self) -> None:
        for unfinished in self.folder.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(unfinished, ignore_errors=True)  # its initdb may be dying still; the next start looks again


def _initdb(folder: Path, installation: Installation, deadline: float) -> None:
    options = (f"--username={SUPERUSER}", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-instructions")
    seconds = max(deadline - time.monotonic(), 0.0)
    try:
        made = installation.who.run(installation.folder / "initdb", "-D", str(folder), *options, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"initdb did not end in {seconds:.0f} s") from None
    if made.returncode:
        said = (made.stderr or made.stdout).strip()
        raise LocalPostgresError(f"initdb, run as {installation.who.name}, failed: {said}")


def _sync(folder: Path) -> None:
    """A rename is durable when its folder is synced."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
