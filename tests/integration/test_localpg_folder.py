"""The embedded PostgreSQL's folder: its version, its path, its socket, and what is said where it can't be used."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from server.localpg import LocalPostgres, LocalPostgresError
from server.localpg.leftovers import server_processes
from server.localpg.sockets import socket_folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a row in it, its server stopped."""
    folder = tmp_path_factory.mktemp("made") / "pg"
    with LocalPostgres(folder) as server:
        _run(server, "CREATE TABLE kept AS SELECT 1 AS n")
    return folder


@pytest.fixture
def data_dir(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "pg"))


def _run(server: LocalPostgres, statement: str, database: str = "postgres") -> Any:
    async def run() -> Any:
        connection = await asyncpg.connect(server.dsn(database), timeout=10)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close(timeout=10)

    return asyncio.run(run())


def test_a_fresh_folder_gives_a_private_server_and_touches_nobodys_permissions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "5999")  # meant for other servers than this one
    before = _modes_up_from(tmp_path / "pg", Path(asyncpg.__file__))
    with LocalPostgres(tmp_path / "deep" / "pg") as server:
        assert _run(server, "SHOW listen_addresses") == ""
        assert _run(server, "SHOW max_connections") == "100"
        assert _run(server, "SHOW fsync") == "on"
        socket = tmp_path / "deep/pg/cluster/.s.PGSQL.5432"
        modes = {stat.S_IMODE(path.stat().st_mode) for path in (socket, socket.parent, socket.parent.parent)}
        assert modes == {0o700}
    assert server_processes(socket.parent) == []
    assert _modes_up_from(tmp_path / "pg", Path(asyncpg.__file__)) == before


def _modes_up_from(*folders: Path) -> dict[Path, tuple[int, int, int]]:
    every = {parent for folder in folders for parent in folder.resolve().parents}
    return {parent: (parent.stat().st_mode, parent.stat().st_uid, parent.stat().st_gid) for parent in every}


def test_any_database_name_will_do(data_dir: Path) -> None:
    with LocalPostgres(data_dir) as server:
        server.ensure_database('a "quoted" name/?')
        assert _run(server, "SELECT current_database()", 'a "quoted" name/?') == 'a "quoted" name/?'


def test_data_is_kept_from_run_to_run(data_dir: Path) -> None:
    for n in (1, 2):
        server = LocalPostgres(data_dir)
        assert server.start() is True
        assert server.start() is True, "a second call changes nothing"
        assert _run(server, "INSERT INTO kept VALUES (2) RETURNING (SELECT count(*) FROM kept)") == n
        server.stop()
        server.stop()


def test_databases_asked_for_at_once_are_made_once(data_dir: Path) -> None:
    with LocalPostgres(data_dir) as server, ThreadPoolExecutor(8) as pool:
        list(pool.map(server.ensure_database, ["same"] * 8))
        assert _run(server, "SELECT count(*) FROM pg_database WHERE datname = 'same'") == 1


def test_data_of_another_major_version_is_refused_with_what_to_do(data_dir: Path) -> None:
    version = data_dir / "cluster/PG_VERSION"
    version.write_text("99\n")
    with pytest.raises(LocalPostgresError, match=r"made by PostgreSQL 99(?s:.*)PHAROS_POSTGRES_BIN(?s:.*)pg_upgrade"):
        LocalPostgres(data_dir).start()
    assert version.read_text() == "99\n"


def test_data_keeps_its_version_when_a_newer_one_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = [folder for folder in Path("/usr/lib/postgresql").glob("*/bin") if folder.parent.name != "18"]
    if not others:
        pytest.skip("NOT RUN: needs a PostgreSQL other than 18 under /usr/lib/postgresql")
    monkeypatch.setenv("PHAROS_POSTGRES_BIN", str(others[0]))
    with LocalPostgres(tmp_path / "pg") as server:
        assert server.start()
    monkeypatch.delenv("PHAROS_POSTGRES_BIN")
    with LocalPostgres(tmp_path / "pg") as server:
        assert _run(server, "SHOW server_version").split(".")[0] == others[0].parent.name


def test_without_binaries_the_error_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHAROS_POSTGRES_BIN", str(tmp_path / "nowhere"))
    with pytest.raises(LocalPostgresError, match=r"pharos-push\[embedded\](?s:.*)nowhere(?s:.*)no initdb"):
        LocalPostgres(tmp_path / "pg").start()


def test_a_server_that_can_not_start_says_why(data_dir: Path) -> None:
    with (data_dir / "cluster/postgresql.conf").open("a") as conf:
        conf.write("no_such_setting = 1\n")
    with pytest.raises(LocalPostgresError, match="no_such_setting"):
        LocalPostgres(data_dir).start()


@pytest.mark.parametrize("name", ["long-" * 30, "a, comma & 100% sp ace"])
def test_any_path_will_do(made: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    shutil.copytree(made, folder)
    with LocalPostgres(folder):
        attached = LocalPostgres(folder)
        assert attached.start() is False
        assert _run(attached, "SELECT n FROM kept") == 1
        assert stat.S_IMODE(socket_folder(folder / "cluster").stat().st_mode) == 0o700
    assert not socket_folder(folder / "cluster").exists()


def test_a_socket_folder_that_others_can_write_to_is_refused(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / ("long-" * 30)
    shutil.copytree(made, folder)
    planted = socket_folder(folder / "cluster")
    planted.mkdir()
    planted.chmod(0o777)
    try:
        with pytest.raises(LocalPostgresError, match=planted.name):
            LocalPostgres(folder).start()
    finally:
        planted.rmdir()


_as_root = pytest.mark.skipif(os.geteuid() != 0, reason="NOT RUN: what root does can be seen as root only")


@_as_root
def test_root_runs_it_in_a_user_namespace_of_its_own_files(data_dir: Path) -> None:
    with LocalPostgres(data_dir):
        (main, *_) = server_processes(data_dir / "cluster")
        namespace = Path(f"/proc/{main}/ns/user").readlink()
    assert namespace != Path("/proc/self/ns/user").readlink()
    assert {entry.stat().st_uid for entry in data_dir.rglob("*")} == {0}


@_as_root
def test_roots_data_is_not_handed_to_an_account(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(data_dir))  # no unshare in it
    with pytest.raises(LocalPostgresError, match=r"user namespace(?s:.*)unshare: No such file or directory"):
        LocalPostgres(data_dir).start()
    assert {entry.stat().st_uid for entry in data_dir.rglob("*")} == {0}
