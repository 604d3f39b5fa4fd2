from __future__ import annotations

import stat
from pathlib import Path

import pytest

from client.connection import Connection, NoConnectionError, split_target
from client.dev_env import read_env_file, write_env_file

COMPLETE = {"PHAROS_GRPC": "http://127.0.0.1:8081", "PHAROS_ACCOUNT_ID": "account", "PHAROS_AUTH_TOKEN": "secret"}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in COMPLETE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "dev.env"
    variables = {"A": "1", "B": "with spaces = and #", "C": ""}

    write_env_file(path, variables)

    assert read_env_file(path) == variables
    assert path.read_text() == "A=1\nB=with spaces = and #\nC=\n"


def test_only_its_owner_may_read_it_whatever_stood_there(tmp_path: Path) -> None:
    path = tmp_path / "dev.env"
    path.write_text("A=0\n")
    path.chmod(0o644)

    write_env_file(path, {"A": "1"})

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["dev.env"]


def test_comments_and_exports_of_a_hand_written_file_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "dev.env"
    path.write_text("# a comment = no variable\n\nexport A=1\n B = 2 \nnonsense\n")

    assert read_env_file(path) == {"A": "1", "B": "2"}


@pytest.mark.parametrize(
    ("address", "target", "secure"),
    [
        ("127.0.0.1:8081", "127.0.0.1:8081", False),
        ("http://127.0.0.1:8081", "127.0.0.1:8081", False),
        ("https://push.example:443", "push.example:443", True),
        ("http://[::1]:8081/", "[::1]:8081", False),
        ("dns:///push.example:443", "dns:///push.example:443", False),
    ],
)
def test_an_address_has_a_scheme_or_none(address: str, target: str, *, secure: bool) -> None:
    assert split_target(address) == (target, secure)


def test_a_named_file_comes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHAROS_GRPC", "elsewhere:1")
    write_env_file(tmp_path / "my.env", COMPLETE)

    connection = Connection.find(tmp_path / "my.env")

    assert (connection.target, connection.account_id, connection.auth_token) == ("127.0.0.1:8081", "account", "secret")


def test_the_environment_comes_before_the_usual_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    write_env_file(tmp_path / "data/dev.env", COMPLETE)
    assert Connection.find().target == "127.0.0.1:8081"

    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value.replace("8081", "9"))

    assert Connection.find().target == "127.0.0.1:9"


def test_what_is_missing_is_named() -> None:
    with pytest.raises(NoConnectionError, match=r"^PHAROS_ACCOUNT_ID, PHAROS_AUTH_TOKEN not set"):
        Connection.of({"PHAROS_GRPC": "127.0.0.1:1", "PHAROS_AUTH_TOKEN": ""})


def test_a_connection_shows_no_token() -> None:
    assert "secret" not in repr(Connection.of(COMPLETE))
