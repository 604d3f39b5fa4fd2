from __future__ import annotations

import base64
import hmac
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from server.providers.sealing import SealBroken, Sealer, SealKeyError, derived_keys

OLD, NEW = b"o" * 32, b"n" * 32
HERE, ELSEWHERE = "credential/account-1/42", "credential/account-2/42"


def encoded(key: bytes) -> str:
    return base64.b64encode(key).decode()


def test_opens_what_it_sealed() -> None:
    sealer = Sealer([NEW])
    sealed = sealer.seal(b"secret", HERE)
    assert b"secret" not in sealed
    assert sealer.open(sealed, HERE) == b"secret"


def test_same_plaintext_never_looks_the_same() -> None:
    sealer = Sealer([NEW])
    assert sealer.seal(b"secret", HERE) != sealer.seal(b"secret", HERE)


def test_does_not_open_elsewhere() -> None:
    sealer = Sealer([NEW])
    with pytest.raises(SealBroken):
        sealer.open(sealer.seal(b"secret", HERE), ELSEWHERE)


def test_every_changed_byte_breaks_the_seal() -> None:
    sealer = Sealer([NEW])
    sealed = sealer.seal(b"secret", HERE)
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(SealBroken):
            sealer.open(bytes(changed), HERE)


@pytest.mark.parametrize("length", [0, 1, 9, 20, 21, 30])
def test_cut_blob_is_broken(length: int) -> None:
    sealer = Sealer([NEW])
    with pytest.raises(SealBroken):
        sealer.open(sealer.seal(b"secret", HERE)[:length], HERE)


def test_wrong_key_is_named_as_such() -> None:
    sealed = Sealer([OLD]).seal(b"secret", HERE)
    with pytest.raises(SealBroken, match="PHAROS_SEAL_KEY"):
        Sealer([NEW]).open(sealed, HERE)


def test_old_key_still_opens_and_no_longer_seals() -> None:
    before = Sealer.from_environment({"PHAROS_SEAL_KEY": encoded(OLD)})
    rotated = Sealer.from_environment({"PHAROS_SEAL_KEY": encoded(NEW), "PHAROS_SEAL_KEY_OLD": encoded(OLD)})
    assert rotated.open(before.seal(b"secret", HERE), HERE) == b"secret"
    with pytest.raises(SealBroken):
        before.open(rotated.seal(b"secret", HERE), HERE)


@pytest.mark.parametrize("value", ["not base64!", encoded(b"short"), encoded(b"x" * 33)])
def test_malformed_key_is_refused_without_being_quoted(value: str) -> None:
    with pytest.raises(SealKeyError) as caught:
        Sealer.from_environment({"PHAROS_SEAL_KEY": value})
    assert value not in str(caught.value)


def test_no_key_anywhere_is_an_error() -> None:
    with pytest.raises(SealKeyError, match="PHAROS_SEAL_KEY"):
        Sealer.from_environment({})


def test_key_file_is_made_once_and_private(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    sealed = Sealer.from_environment({}, data_dir).seal(b"secret", HERE)
    assert Sealer.from_environment({}, data_dir).open(sealed, HERE) == b"secret"
    assert [path.name for path in data_dir.iterdir()] == ["seal.key"]
    assert stat.S_IMODE((data_dir / "seal.key").stat().st_mode) == 0o600


def test_starters_at_the_same_time_agree_on_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        sealers = list(pool.map(lambda _: Sealer.from_environment({}, tmp_path), range(8)))
    for sealer in sealers:
        assert sealers[0].open(sealer.seal(b"secret", HERE), HERE) == b"secret"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_key_file_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    Sealer.from_environment({}, tmp_path)
    (tmp_path / "seal.key").chmod(mode)
    with pytest.raises(SealKeyError, match="0600"):
        Sealer.from_environment({}, tmp_path)


def test_environment_goes_before_the_file(tmp_path: Path) -> None:
    Sealer.from_environment({"PHAROS_SEAL_KEY": encoded(NEW)}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_derived_keys_are_of_their_master_key_and_purpose_alone(tmp_path: Path) -> None:
    env = {"PHAROS_SEAL_KEY": encoded(NEW), "PHAROS_SEAL_KEY_OLD": encoded(OLD)}
    keys = derived_keys(env, None, "one")
    assert keys == derived_keys(env, tmp_path, "one")
    assert keys[1:] == derived_keys({"PHAROS_SEAL_KEY": encoded(OLD)}, None, "one")
    different = {*keys, *derived_keys(env, None, "another"), NEW, OLD}
    assert len(different) == 6
    assert {len(key) for key in keys} == {32}


def test_derived_keys_come_from_the_file_that_the_sealer_has(tmp_path: Path) -> None:
    Sealer.from_environment({}, tmp_path)
    in_file = (tmp_path / "seal.key").read_text("ascii").strip()
    assert derived_keys({}, tmp_path, "one") == derived_keys({"PHAROS_SEAL_KEY": in_file}, None, "one")


def test_derived_keys_are_those_of_rfc_5869() -> None:
    """HKDF-SHA256 with no salt, by hand: extract and expand."""
    extracted = hmac.digest(bytes(32), NEW, "sha256")
    expanded = hmac.digest(extracted, b"pharos\0one\x01", "sha256")
    assert derived_keys({"PHAROS_SEAL_KEY": encoded(NEW)}, None, "one") == [expanded]
