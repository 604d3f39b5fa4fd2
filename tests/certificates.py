"""A certificate authority of the tests' own, and what its servers and clients present."""

from __future__ import annotations

import datetime as dt
import ssl
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


def _subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, signs: bool) -> x509.KeyUsage:
    """Python 3.13 and later want to see keyCertSign in an authority's certificate."""
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign")
    never = dict.fromkeys((*others, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(digital_signature=not signs, key_cert_sign=signs, **never)


@dataclass(frozen=True)
class Identity:
    """A certificate with its key, both PEM, in files as well."""

    certificate: str
    private_key: str
    certificate_file: Path
    key_file: Path

    def server_context(self) -> ssl.SSLContext:
        """Offers HTTP/2 and nothing else."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate_file, self.key_file)
        context.set_alpn_protocols(["h2"])
        return context


@dataclass
class Authority:
    """Keeps its files in ``folder``."""

    folder: Path
    _key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    _issued: int = 0

    @cached_property
    def file(self) -> Path:
        """The authority's own certificate."""
        path = self.folder / "authority.pem"
        path.write_text(_pem(self._certificate(self._key.public_key(), "authority", dt.timedelta(days=2), signs=True)))
        return path

    def issue(self, name: str = "localhost", ends_in: dt.timedelta = dt.timedelta(days=1)) -> Identity:
        """A certificate for a server or client of that name, valid since three days ago."""
        self._issued += 1
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _pem(self._certificate(key.public_key(), name, ends_in, signs=False))
        private_key = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        files = [self.folder / f"{self._issued}-{part}.pem" for part in ("certificate", "key")]
        for file, content in zip(files, (certificate, private_key), strict=True):
            file.write_text(content)
        return Identity(certificate, private_key, *files)

    def _certificate(
        self, key: ec.EllipticCurvePublicKey, name: str, ends_in: dt.timedelta, *, signs: bool
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        issuer_key = self._key.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(_subject(name))
            .issuer_name(_subject("authority"))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=3))
            .not_valid_after(now + ends_in)
            .add_extension(x509.BasicConstraints(ca=signs, path_length=None), critical=True)
            .add_extension(_usage(signs=signs), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
