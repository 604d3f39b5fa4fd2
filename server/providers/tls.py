"""TLS contexts for outgoing connections, with or without a client certificate."""

from __future__ import annotations

import secrets
import ssl
import tempfile
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Verify servers against ``ca_file`` (PEM) alone, or against the CA bundle that ships with httpx.

    Don't share one context between HTTP versions: httpcore writes its ALPN offer into it.
    """
    if ca_file is None:
        return httpx.create_ssl_context(trust_env=False)
    return ssl.create_default_context(cafile=str(ca_file))


def identified(ca_file: Path | None, certificate: str, private_key: str) -> ssl.SSLContext:
    """Like `trusting`, and present ``certificate`` (PEM chain, leaf first) with its ``private_key`` (PEM)."""
    context = trusting(ca_file)
    password = secrets.token_hex(24)
    # The ssl module reads keys from files only, so the key is on disk for a moment: encrypted, with a password
    # that is never written, in a directory that only this user can enter.
    with tempfile.TemporaryDirectory(prefix="pharos-") as directory:
        key_file = Path(directory, "key.pem")
        key_file.write_bytes(_encrypted(private_key, password))
        certificate_file = Path(directory, "certificate.pem")
        certificate_file.write_text(certificate, encoding="ascii")
        context.load_cert_chain(certificate_file, key_file, password)
    return context


def failure(error: BaseException | None) -> ssl.SSLError | None:
    """The TLS failure that ``error`` is, or that caused it."""
    while error is not None:
        # "Want read" is how a handshake waits, and stays as the context of a timeout.
        if isinstance(error, ssl.SSLError) and not isinstance(error, (ssl.SSLWantReadError, ssl.SSLWantWriteError)):
            return error
        error = error.__cause__ or error.__context__
    return None


def refuses_certificate(error: ssl.SSLError | None) -> bool:
    """Whether the peer's alert (RFC 8446, 6.2; OpenSSL's name for it) is about the certificate that we presented."""
    reason = (error.reason or "") if error else ""
    return "_ALERT_" in reason and any(part in reason for part in ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED"))


def _encrypted(private_key: str, password: str) -> bytes:
    key = load_pem_private_key(private_key.encode("ascii"), password=None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode("ascii")))
