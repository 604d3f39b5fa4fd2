"""Run a command with DATABASE_URL pointing at a fresh PostgreSQL of a given installation, then remove it.

usage: with_postgres.py BIN_FOLDER COMMAND...    BIN_FOLDER as /usr/lib/postgresql/15/bin
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from server.localpg import LocalPostgres


def main() -> int:
    """Return the command's exit status; 1 where the installation is missing."""
    folder, *command = sys.argv[1:]
    if not (Path(folder) / "postgres").exists():
        print(f"error: {folder} has no PostgreSQL: install Debian's package postgresql-15", file=sys.stderr)
        return 1
    os.environ["PHAROS_POSTGRES_BIN"] = folder
    with tempfile.TemporaryDirectory(prefix="pharos-postgres-") as data, LocalPostgres(Path(data) / "data") as server:
        environment = {**os.environ, "DATABASE_URL": server.dsn()}
        del environment["PHAROS_POSTGRES_BIN"]
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
