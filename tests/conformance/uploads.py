"""Credential contents of our own making, good and bad: base64 of what a vendor gives out, made at test time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from tests.unit.providers.conftest import Authority, b64, pem_of, rsa_key, service_account

_TOPIC = "push.pharos.conformance"


@cache
def uploads() -> dict[str, str]:
    """Variables of the cases, by name. Certificates are for `own_key`, unless their name says otherwise."""
    return {name: b64(text) for name, text in (*_keys(), *_certificates(), *_service_accounts())}


@cache
def _own_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _keys() -> Iterator[tuple[str, str]]:
    pem = pem_of(_own_key())
    yield "own_key", pem
    yield "own_key_in_one_line", _in_one_line(pem)
    yield "other_key", pem_of(ec.generate_private_key(ec.SECP256R1()))
    yield "rsa_key", pem_of(rsa_key())
    yield "short_rsa_key", pem_of(rsa_key(1024))
    yield "ed25519_key", pem_of(ed25519.Ed25519PrivateKey.generate())


def _certificates() -> Iterator[tuple[str, str]]:
    authority, day, now = Authority(), timedelta(days=1), datetime.now(UTC)
    own = authority.issue(_own_key(), _TOPIC)
    yield "own_certificate", own
    yield "own_certificate_in_one_line", _in_one_line(own)
    yield "expired_certificate", authority.issue(_own_key(), _TOPIC, now - 2 * day, now - day)
    yield "lasting_certificate", authority.issue(_own_key(), _TOPIC, now - day, now + 90 * day)
    yield "expiring_certificate", authority.issue(_own_key(), _TOPIC, now - day, now + 20 * day)
    yield "future_certificate", authority.issue(_own_key(), _TOPIC, now + day, now + 2 * day)
    yield "certificate_of_no_app", authority.issue(_own_key())


def _service_accounts() -> Iterator[tuple[str, str]]:
    yield "own_service_account", json.dumps(service_account())
    yield "service_account_in_one_line", json.dumps(service_account(private_key=_in_one_line(pem_of(rsa_key()))))
    yield "authorized_user", json.dumps(service_account(type="authorized_user"))
    yield "service_account_without_key", json.dumps(service_account(private_key=None))
    yield "service_account_with_short_key", json.dumps(service_account(private_key=pem_of(rsa_key(1024))))
    yield "service_account_with_ec_key", json.dumps(service_account(private_key=pem_of(_own_key())))


def _in_one_line(pem: str) -> str:
    """Without any of its line breaks, as shells and forms mangle it."""
    return pem.replace("\n", "")
