"""Where the service is and who is asking: read from a dev.env file, or from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from client.dev_env import read_env_file

DEFAULT_ENV_FILE = Path("data/dev.env")
_VARIABLES = ("PHAROS_GRPC", "PHAROS_ACCOUNT_ID", "PHAROS_AUTH_TOKEN")


class NoConnectionError(Exception):
    """It is not said where the service is, or which account to use."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A gRPC target (`host:port`) and an account's credentials. The token stays out of the repr."""

    target: str
    account_id: str
    auth_token: str = field(repr=False)
    secure: bool = False

    @classmethod
    def find(cls, env_file: Path | None = None) -> Self:
        """The connection of this file; without one, of the environment; without that, of ./data/dev.env.

        Raises NoConnectionError with what is missing, and OSError for an unreadable file.
        """
        if env_file is not None:
            return cls.of(read_env_file(env_file))
        if "PHAROS_GRPC" not in os.environ and DEFAULT_ENV_FILE.exists():
            return cls.of(read_env_file(DEFAULT_ENV_FILE))
        return cls.of(os.environ)

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Self:
        missing = [name for name in _VARIABLES if not variables.get(name)]
        if missing:
            raise NoConnectionError(f"{', '.join(missing)} not set; start `pharos up`, or name its dev.env")
        address, account_id, auth_token = (variables[name] for name in _VARIABLES)
        target, secure = split_target(address)
        return cls(target, account_id, auth_token, secure)


def split_target(address: str) -> tuple[str, bool]:
    """`host:port`, `http://host:port` or `https://host:port` as the gRPC target and whether it speaks TLS.

    >>> split_target("https://push.example:443")
    ('push.example:443', True)
    """
    if not address.startswith(("http://", "https://")):
        return address, False
    url = urlsplit(address)
    return url.netloc, url.scheme == "https"
