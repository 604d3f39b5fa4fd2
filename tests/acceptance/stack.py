"""A running service with its sandbox, as one account sees it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from client.connection import Connection
from client.push_client import PushClient
from tests.acceptance.programs import Up, pharos
from tests.acceptance.sandbox_port import SandboxPort
from tests.plain_http import TRUSTS_NOBODY

_PATIENCE = 60.0


@dataclass(frozen=True)
class Stack:
    """`variables` are those of the dev.env; the account among them is the one that asks."""

    up: Up
    variables: dict[str, str] = field(repr=False)

    @property
    def url(self) -> str:
        return self.variables["PHAROS_URL"]

    @property
    def grpc(self) -> str:
        """`host:port`."""
        return self.variables["PHAROS_GRPC"].removeprefix("http://")

    @property
    def auth(self) -> httpx.BasicAuth:
        """What `curl -u account:token` sends."""
        return httpx.BasicAuth(self.variables["PHAROS_ACCOUNT_ID"], self.variables["PHAROS_AUTH_TOKEN"])

    def with_new_account(self) -> Stack:
        """The same service for an account of its own, made as an operator makes one."""
        made = pharos("accounts", "create", "--data-dir", self.up.data_dir, "--name", "acceptance")
        assert made.returncode == 0, made.stderr
        created = json.loads(made.stdout)
        account = {"PHAROS_ACCOUNT_ID": created["accountId"], "PHAROS_AUTH_TOKEN": created["authToken"]}
        return Stack(self.up, self.variables | account)

    def client(self) -> PushClient:
        return PushClient.connect(Connection.of(self.variables))

    def rest(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, auth=self.auth, timeout=_PATIENCE, verify=TRUSTS_NOBODY)

    def sandbox(self) -> SandboxPort:
        return SandboxPort(self.variables["PHAROS_SANDBOX_URL"])

    def upload_credentials(self, app_name: str, *kinds: str) -> None:
        """The sandbox's own credentials, of these types, or FCM and APN."""
        contents = credential_contents(self.variables)
        with httpx.Client(base_url=self.url, auth=self.auth, timeout=_PATIENCE, verify=TRUSTS_NOBODY) as http:
            for kind in kinds or ("FCM", "APN"):
                upload = {"appName": app_name, "credentialType": kind, "content": contents[kind]}
                response = http.post("/v1/PushNotifications/Credentials", json=upload)
                assert response.status_code == 202, response.text


def credential_contents(variables: dict[str, str]) -> dict[str, dict[str, str]]:
    """`content` of an upload by credential type: base64 of the files, as the vendors give them out."""
    apn = {
        "certificate": base64_of(variables["PHAROS_SANDBOX_APNS_CERT"]),
        "privateKey": base64_of(variables["PHAROS_SANDBOX_APNS_KEY"]),
    }
    return {
        "FCM": {"privateKey": base64_of(variables["PHAROS_SANDBOX_FCM_KEY"])},
        "APN": apn,
        "APN_SANDBOX": apn,
    }


def base64_of(path: str | Path) -> str:
    return base64.b64encode(Path(path).read_bytes()).decode("ascii")
