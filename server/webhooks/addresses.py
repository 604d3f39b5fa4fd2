"""Which addresses webhooks may be at: the public internet's, and networks that this installation allows.

An account names the URL, and this process stands inside somebody's network: without rules a webhook would be a way in
(server-side request forgery). The rules hold for the address that is connected to, not for the name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import SplitResult, urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# https://www.iana.org/assignments/iana-ipv4-special-registry and -ipv6-special-registry, and multicast. Written out:
# what the `ipaddress` module calls global differs between versions of Python.
_SPECIAL_IPV4: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # "this network": Linux takes it for this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, with the clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_GLOBAL_IPV6: Final = IPv6Network("2000::/3")
_SPECIAL_IPV6: Final = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # Teredo among others, which leads to IPv4 addresses
        "2001:db8::/32",
        "2002::/16",  # 6to4, likewise
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}")


@dataclass(frozen=True, slots=True)
class AddressRules:
    """``allowed``: networks that webhooks may be in though they are not public; there also without TLS."""

    allowed: Sequence[Network] = ()

    def permits(self, address: str, *, encrypted: bool) -> bool:
        """Whether a connection to the address (numeric, as resolved) may be made."""
        try:
            plain = _without_mapping(ip_address(address))
        except ValueError:
            return False
        return any(plain in network for network in self.allowed) or (encrypted and _is_public(plain))

    def problem(self, url: str) -> str | None:
        """Return what is wrong with a webhook's URL, None for nothing. Names are only looked up when it is called."""
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            return "is not a URL"
        if parts.scheme == "http" and not self.allowed:
            return "must begin with https://"
        return _shape_problem(parts, host) or self._host_problem(host, encrypted=parts.scheme == "https")

    def _host_problem(self, host: str, *, encrypted: bool) -> str | None:
        try:
            ip_address(host)
        except ValueError:
            return None if _NAME.fullmatch(host) else "has no valid host"
        return None if self.permits(host, encrypted=encrypted) else "names an address that webhooks may not be at"


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Return networks as ``10.0.0.0/8``. Raises ``ValueError``."""
    return tuple(ip_network(text) for text in texts)


def _shape_problem(parts: SplitResult, host: str) -> str | None:
    if parts.scheme not in {"http", "https"} or not host:
        return "is not a URL of https"
    if parts.username is not None or parts.password is not None:
        return "must not have a user or password"
    return "must not have a fragment" if parts.fragment else None


def _without_mapping(address: Address) -> Address:
    """Return the IPv4 address that an IPv4-mapped one (RFC 4291, 2.5.5.2) is; else the address itself."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped if mapped is not None else address


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    return address in _GLOBAL_IPV6 and not any(address in network for network in _SPECIAL_IPV6)
