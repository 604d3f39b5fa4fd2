"""The credentials of the sandbox: a test CA, the server's certificate, and what a customer would upload.

Everything is made once per directory and kept, so that a database which holds the credentials survives a restart.
"""

from __future__ import annotations

import ipaddress
import json
import os
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PROJECT_ID = "pharos-sandbox"
APNS_KEY_ID = "SNDBX8KEY1"
APNS_TEAM_ID = "SNDBXTEAM1"
APNS_TOPIC = "com.example.pharos"

_VALIDITY = timedelta(days=3650)
_APPLE_DEVELOPMENT = x509.ObjectIdentifier("1.2.840.113635.100.6.3.1")
_APPLE_PRODUCTION = x509.ObjectIdentifier("1.2.840.113635.100.6.3.2")
_ASN1_NULL = b"\x05\x00"

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Identity:
    """Where the files are, and the public halves that the sandbox checks signatures with."""

    directory: Path
    service_account: dict[str, Any]
    service_key: rsa.RSAPublicKey
    provider_key: ec.EllipticCurvePublicKey

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.pem"

    @property
    def server_files(self) -> tuple[Path, Path]:
        return self.directory / "server.pem", self.directory / "server-key.pem"

    @property
    def fcm_key_file(self) -> Path:
        return self.directory / "fcm-service-account.json"

    @property
    def apns_cert_file(self) -> Path:
        return self.directory / "apns-cert.pem"

    @property
    def apns_key_file(self) -> Path:
        return self.directory / "apns-key.pem"

    @property
    def apns_p8_file(self) -> Path:
        return self.directory / "apns-key.p8"

    def point_service_account_at(self, token_uri: str) -> None:
        """Rewrites the service account's ``token_uri``: the port may differ from run to run."""
        self.service_account["token_uri"] = token_uri
        _write(self.fcm_key_file, json.dumps(self.service_account, indent=2).encode() + b"\n")


def open_identity(directory: Path) -> Identity:
    """Loads the directory's credentials, making all of them if any is missing.

    Raises ValueError for files that are not what this function once wrote.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    if not all((directory / name).exists() for name in _FILES):
        _create(directory)
    account = json.loads((directory / "fcm-service-account.json").read_bytes())
    service_key = serialization.load_pem_private_key(account["private_key"].encode(), None)
    provider_key = serialization.load_pem_private_key((directory / "apns-key.p8").read_bytes(), None)
    if not isinstance(service_key, rsa.RSAPrivateKey) or not isinstance(provider_key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{directory} holds keys of another kind than the sandbox makes")  # noqa: TRY004 - contents, not types, are wrong
    return Identity(directory, account, service_key.public_key(), provider_key.public_key())


# The service account is written last: with it in place, all the others are of the same making.
_FILES = (
    "ca.pem",
    "server.pem",
    "server-key.pem",
    "apns-cert.pem",
    "apns-key.pem",
    "apns-key.p8",
    "fcm-service-account.json",
)


def _create(directory: Path) -> None:
    (directory / "fcm-service-account.json").unlink(missing_ok=True)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = _ca_certificate(ca_key)
    server_key = ec.generate_private_key(ec.SECP256R1())
    client_key = rsa.generate_private_key(65537, 2048)
    _write(directory / "ca.pem", _pem(ca))
    _write(directory / "server-key.pem", _key_pem(server_key))
    _write(directory / "server.pem", _pem(_server_certificate(server_key, ca, ca_key)))
    _write(directory / "apns-key.pem", _key_pem(client_key))
    _write(directory / "apns-cert.pem", _pem(_push_certificate(client_key, ca, ca_key)))
    _write(directory / "apns-key.p8", _key_pem(ec.generate_private_key(ec.SECP256R1())))
    _write(directory / "fcm-service-account.json", json.dumps(_service_account()).encode())


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and readable by the owner only."""
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    fresh.replace(path)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _name(**attributes: str) -> x509.Name:
    oids = {"cn": NameOID.COMMON_NAME, "uid": NameOID.USER_ID, "ou": NameOID.ORGANIZATIONAL_UNIT_NAME}
    return x509.Name([x509.NameAttribute(oids[key], value) for key, value in attributes.items()])


def _builder(subject: x509.Name, issuer: x509.Name, key: PrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _VALIDITY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """Python 3.13 and later verify strictly: a CA without keyCertSign is refused."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _ca_certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = _name(cn="Pharos sandbox CA")
    return (
        _builder(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    subject: x509.Name, key: PrivateKey, ca: x509.Certificate, purpose: x509.ObjectIdentifier
) -> x509.CertificateBuilder:
    issuer_key_id = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        _builder(subject, ca.subject, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key_id), critical=False)
    )


def _server_certificate(
    key: ec.EllipticCurvePrivateKey, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    leaf = _leaf(_name(cn="localhost"), key, ca, ExtendedKeyUsageOID.SERVER_AUTH)
    return leaf.add_extension(names, critical=False).sign(ca_key, hashes.SHA256())


def _push_certificate(
    key: rsa.RSAPrivateKey, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """As Apple's: the topic is the subject's UID, and extensions name the environments it is good for."""
    subject = _name(uid=APNS_TOPIC, cn=f"Apple Push Services: {APNS_TOPIC}", ou=APNS_TEAM_ID)
    leaf = _leaf(subject, key, ca, ExtendedKeyUsageOID.CLIENT_AUTH)
    for environment in (_APPLE_DEVELOPMENT, _APPLE_PRODUCTION):
        leaf = leaf.add_extension(x509.UnrecognizedExtension(environment, _ASN1_NULL), critical=False)
    return leaf.sign(ca_key, hashes.SHA256())


def _service_account() -> dict[str, Any]:
    """The fields of a key file downloaded from the Firebase console."""
    email = f"firebase-adminsdk-sndbx@{PROJECT_ID}.iam.gserviceaccount.com"
    key = rsa.generate_private_key(65537, 2048)
    return {
        "type": "service_account",
        "project_id": PROJECT_ID,
        "private_key_id": uuid.uuid4().hex + uuid.uuid4().hex[:8],
        "private_key": _key_pem(key).decode(),
        "client_email": email,
        "client_id": str(uuid.uuid4().int)[:21],
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
        "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
        "client_x509_cert_url": f"https://www.googleapis.com/robot/v1/metadata/x509/{email.replace('@', '%40')}",
        "universe_domain": "googleapis.com",
    }
