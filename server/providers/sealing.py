"""Secrets at rest: AES-256-GCM under a key that the database never sees, bound to the row they belong to."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_VARIABLE = "PHAROS_SEAL_KEY"
OLD_KEY_VARIABLE = "PHAROS_SEAL_KEY_OLD"
KEY_FILE = "seal.key"

# version (1) | key id (8) | nonce (12) | ciphertext and tag
_VERSION = b"\x01"
_KEY_ID_LENGTH = 8
_NONCE_LENGTH = 12
_KEY_LENGTH = 32
_HEADER_LENGTH = len(_VERSION) + _KEY_ID_LENGTH
_BODY_START = _HEADER_LENGTH + _NONCE_LENGTH


class SealKeyError(ValueError):
    """The key is missing, malformed, or kept where others can read it."""


class SealBroken(ValueError):
    """The blob doesn't open: sealed with a key we don't have, for another place, or changed since."""


class Sealer:
    """Seals with the first key; opens with any of them, so that a key can be replaced while in use."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys:
            raise SealKeyError("at least one seal key is needed")
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self._key_id = _key_id(keys[0])

    @classmethod
    def from_environment(cls, env: Mapping[str, str], data_dir: Path | None = None) -> Sealer:
        """The key of ``PHAROS_SEAL_KEY``, else of ``seal.key`` in ``data_dir`` (made when missing).

        ``PHAROS_SEAL_KEY_OLD`` still opens what it sealed. Raises SealKeyError.
        """
        return cls(_master_keys(env, data_dir))

    def seal(self, plaintext: bytes, context: str) -> bytes:
        """Encrypt ``plaintext``; only `open` with the same ``context`` gives it back."""
        header = _VERSION + self._key_id
        nonce = secrets.token_bytes(_NONCE_LENGTH)
        body = self._ciphers[self._key_id].encrypt(nonce, plaintext, header + context.encode())
        return header + nonce + body

    def open(self, sealed: bytes, context: str) -> bytes:
        """Decrypt what `seal` made. Raises SealBroken."""
        header, nonce, body = sealed[:_HEADER_LENGTH], sealed[_HEADER_LENGTH:_BODY_START], sealed[_BODY_START:]
        if len(nonce) != _NONCE_LENGTH or not header.startswith(_VERSION):
            raise SealBroken("not a sealed blob of a known version")
        cipher = self._ciphers.get(header[len(_VERSION) :])
        if cipher is None:
            raise SealBroken(f"sealed with a key that is neither {KEY_VARIABLE} nor {OLD_KEY_VARIABLE}")
        try:
            return cipher.decrypt(nonce, body, header + context.encode())
        except InvalidTag:
            raise SealBroken("sealed for another place, or changed since") from None


def derived_keys(env: Mapping[str, str], data_dir: Path | None, purpose: str) -> list[bytes]:
    """Keys of 32 bytes for this purpose alone, one for each key that `Sealer.from_environment` has, in its order.

    HKDF with SHA-256 (RFC 5869): from one of them nothing follows about the others. Raises SealKeyError.
    """
    return [_derived(key, purpose) for key in _master_keys(env, data_dir)]


def _derived(key: bytes, purpose: str) -> bytes:
    return HKDF(hashes.SHA256(), _KEY_LENGTH, salt=None, info=b"pharos\0" + purpose.encode()).derive(key)


def _master_keys(env: Mapping[str, str], data_dir: Path | None) -> list[bytes]:
    if encoded := env.get(KEY_VARIABLE):
        keys = [_decoded(encoded, KEY_VARIABLE)]
    elif data_dir is not None:
        keys = [_key_of_file(data_dir / KEY_FILE)]
    else:
        raise SealKeyError(f"{KEY_VARIABLE} is not set (base64 of {_KEY_LENGTH} random bytes)")
    if encoded := env.get(OLD_KEY_VARIABLE):
        keys.append(_decoded(encoded, OLD_KEY_VARIABLE))
    return keys


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"pharos seal key id\0" + key).digest()[:_KEY_ID_LENGTH]


def _decoded(encoded: str, source: str) -> bytes:
    try:
        key = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise SealKeyError(f"{source} is not base64") from None
    if len(key) != _KEY_LENGTH:
        raise SealKeyError(f"{source} holds {len(key)} bytes, not {_KEY_LENGTH}")
    return key


def _key_of_file(path: Path) -> bytes:
    if not path.exists():
        _make_key_file(path)
    with path.open(encoding="ascii", errors="replace") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SealKeyError(f"{path} has mode {mode:04o}: others can read it, 0600 is needed")
        return _decoded(file.read(), str(path))


def _make_key_file(path: Path) -> None:
    """Write a new key, whole or not at all; of several processes that start at once, one wins."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(_KEY_LENGTH)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        _link_once(draft, path)
    finally:
        draft.unlink()


def _link_once(draft: Path, path: Path) -> None:
    try:
        path.hardlink_to(draft)  # unlike a rename, never replaces a key that something may be sealed with
    except FileExistsError:
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
