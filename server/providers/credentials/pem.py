"""Reading PEM as people really upload it (RFC 7468): line breaks lost, other text around it, keys of any wrapping."""

from __future__ import annotations

import re

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from server.providers.credentials.problems import Problems

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,40})-----(.*?)-----END \1-----", re.DOTALL)
_LINE = 64
SMALLEST_RSA = 2048  # OpenSSL's default security level refuses less, so would every handshake


def blocks(text: str, label: str) -> list[str]:
    r"""All blocks whose label ends with ``label``, with the line breaks that the parsers insist on.

    A line break that became the two characters ``\n`` counts as one.
    """
    return [_wrapped(match[1], match[2]) for match in _BLOCK.finditer(text) if match[1].endswith(label)]


def _wrapped(label: str, body: str) -> str:
    content = "".join(body.replace("\\n", "\n").split())
    lines = [content[start : start + _LINE] for start in range(0, len(content), _LINE)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


def private_key(field: str, text: str, problems: Problems) -> PrivateKeyTypes | None:
    """The first private key in ``text``; None after a problem."""
    found = blocks(text, "PRIVATE KEY")
    if not found:
        problems.add(field, "holds no private key in PEM form")
    elif "ENCRYPTED" in text:
        problems.add(field, "is protected by a passphrase: export the key without one")
    else:
        try:
            return load_pem_private_key(found[0].encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            problems.add(field, "holds a private key that can't be read")
    return None


def canonical(key: PrivateKeyTypes) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


def is_strong_rsa(key: object) -> bool:
    return isinstance(key, rsa.RSAPrivateKey) and key.key_size >= SMALLEST_RSA


def is_p256(key: object) -> bool:
    return isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)
