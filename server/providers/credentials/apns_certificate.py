"""APNs content for certificate-based authentication: a certificate that names its app, and its private key."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from server.domain.credentials import CredentialContent
from server.providers.credentials import pem
from server.providers.credentials.problems import Problems
from server.providers.credentials.secret import ApnsCertificate
from server.providers.credentials.topic import is_topic

_CERTIFICATE = "content.certificate"
_KEY = "content.privateKey"


def parse(content: CredentialContent, problems: Problems, now: datetime) -> tuple[ApnsCertificate, datetime] | None:
    """The secret and the certificate's end (UTC); None after a problem that leaves nothing to check."""
    chain = _chain(content.certificate, problems)
    key = _key(content.private_key, problems)
    if not chain:
        return None
    leaf = chain[0]
    _check_time(leaf, problems, now)
    topic = _topic(leaf, problems)
    if key is None:
        return None
    if not _belong_together(leaf, key):
        problems.add(_KEY, "does not belong to the certificate")
    secret = ApnsCertificate(
        topic=topic,
        certificate="".join(certificate.public_bytes(Encoding.PEM).decode("ascii") for certificate in chain),
        private_key=pem.canonical(key),
    )
    return secret, leaf.not_valid_after_utc


def _chain(encoded: str | None, problems: Problems) -> list[x509.Certificate]:
    text = problems.file(_CERTIFICATE, encoded)
    if text is None:
        return []
    found = pem.blocks(text, "CERTIFICATE")
    if not found:
        problems.add(_CERTIFICATE, "holds no certificate in PEM form")
    try:
        return [x509.load_pem_x509_certificate(block.encode()) for block in found]
    except ValueError:
        problems.add(_CERTIFICATE, "holds a certificate that can't be read")
        return []


def _key(encoded: str | None, problems: Problems) -> PrivateKeyTypes | None:
    text = problems.file(_KEY, encoded)
    key = None if text is None else pem.private_key(_KEY, text, problems)
    if key is not None and not (pem.is_strong_rsa(key) or isinstance(key, ec.EllipticCurvePrivateKey)):
        weak = isinstance(key, rsa.RSAPrivateKey)
        problems.add(_KEY, f"has fewer than {pem.SMALLEST_RSA} bits" if weak else "is neither an RSA nor an EC key")
        return None
    return key


def _check_time(leaf: x509.Certificate, problems: Problems, now: datetime) -> None:
    if leaf.not_valid_after_utc <= now:
        problems.add(_CERTIFICATE, f"expired at {leaf.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}")
    elif leaf.not_valid_before_utc > now:
        problems.add(_CERTIFICATE, f"is not valid before {leaf.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}")


def _topic(leaf: x509.Certificate, problems: Problems) -> str:
    names = leaf.subject.get_attributes_for_oid(NameOID.USER_ID)
    if names and is_topic(names[0].value):
        return str(names[0].value)
    problems.add(_CERTIFICATE, "names no app: its subject has no UID, so it is no APNs certificate")
    return ""


def _belong_together(leaf: x509.Certificate, key: PrivateKeyTypes) -> bool:
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return leaf.public_key().public_bytes(*form) == key.public_key().public_bytes(*form)
