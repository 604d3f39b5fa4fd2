"""Which addresses webhooks may be at."""

from __future__ import annotations

import pytest

from server.webhooks.addresses import AddressRules, networks

_NOT_PUBLIC = [
    "0.0.0.0",  # noqa: S104 - not bound
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "3fff::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "hooks.example",
    "127.1",
    "",
]
_PUBLIC = ["1.1.1.1", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1"]


@pytest.mark.parametrize("address", _NOT_PUBLIC)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not AddressRules().permits(address, encrypted=True)


@pytest.mark.parametrize("address", _PUBLIC)
def test_what_is_public_is_permitted_with_tls_alone(address: str) -> None:
    assert AddressRules().permits(address, encrypted=True)
    assert not AddressRules().permits(address, encrypted=False)


def test_allowed_networks_are_permitted_with_and_without_tls_and_nothing_beside_them() -> None:
    rules = AddressRules(networks(["10.1.0.0/16", "fd00::/8"]))
    for encrypted in (True, False):
        assert rules.permits("10.1.2.3", encrypted=encrypted)
        assert rules.permits("::ffff:10.1.2.3", encrypted=encrypted)
        assert rules.permits("fd00::1", encrypted=encrypted)
        assert not rules.permits("10.2.0.1", encrypted=encrypted)
    assert rules.permits("1.1.1.1", encrypted=True)
    assert not rules.permits("1.1.1.1", encrypted=False)


def test_plain_http_is_for_installations_that_allow_networks() -> None:
    rules = AddressRules(networks(["127.0.0.0/8"]))
    assert rules.problem("http://127.0.0.1:8000/hook") is None
    assert rules.problem("http://hooks.internal/hook") is None
    assert rules.problem("http://1.1.1.1/hook") is not None
    assert AddressRules().problem("http://127.0.0.1:8000/hook") == "must begin with https://"


def test_a_long_host_is_judged_at_once() -> None:
    assert AddressRules().problem("https://" + "a" * 2000 + "!/") == "has no valid host"


def test_networks_are_read_strictly() -> None:
    with pytest.raises(ValueError, match="host bits"):
        networks(["10.0.0.1/8"])
