"""The sandbox as a whole: wires vendors, listeners and the control port, in a process of its own or in a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox import identity
from sandbox.apns import Apns
from sandbox.calls import CallLog, Witness
from sandbox.control import Control
from sandbox.fcm import Fcm
from sandbox.identity import Identity
from sandbox.ledger import Ledger, Provider
from sandbox.listener import Listener, server_tls
from sandbox.oauth import AccessTokens, TokenEndpoint
from sandbox.provider_token import ProviderTokens
from sandbox.rules import Rules
from sandbox.wire import Vendor


@dataclass(frozen=True, slots=True)
class Urls:
    """Where the sandbox listens."""

    control: str
    fcm: str
    oauth: str
    apns: str
    apns_sandbox: str  # Apple's development environment


@dataclass(frozen=True, slots=True)
class Ports:
    """What to listen on; 0: any free port."""

    fcm: int = 0
    apns: int = 0
    control: int = 0
    apns_sandbox: int = 0


class Sandbox:
    """A running sandbox: ``urls``, the credentials in ``identity``, the ``ledger``, and the ``rules`` to script it."""

    def __init__(self, credentials: Identity, ledger: Ledger, rules: Rules, tokens: AccessTokens, urls: Urls) -> None:
        self.identity = credentials
        self.ledger = ledger
        self.rules = rules
        self.access_tokens = tokens
        self.urls = urls

    @classmethod
    @asynccontextmanager
    async def start(
        cls, directory: Path, ports: Ports | None = None, host: str = "127.0.0.1", calls: Path | None = None
    ) -> AsyncIterator[Sandbox]:
        """Serves until the block is left. Credentials are made in ``directory`` if it has none.

        ``calls`` is the file that every push request is noted in, see sandbox.calls. Raises OSError if a port is
        taken, ValueError if the directory's credentials are not the sandbox's.
        """
        ports = ports or Ports()
        credentials = identity.open_identity(directory)
        ledger, rules = Ledger(), Rules()
        tokens = AccessTokens(credentials.service_account["private_key"].encode())
        oauth = TokenEndpoint(credentials, tokens, rules)
        fcm_tls = server_tls(credentials, ["h2", "http/1.1"], client_certificates=False)
        apns_tls = server_tls(credentials, ["h2"], client_certificates=True)
        google: Vendor = Fcm(tokens, oauth, ledger, rules)
        provider_tokens = ProviderTokens(credentials)
        apple: Vendor = Apns(provider_tokens, ledger, rules)
        apple_development: Vendor = Apns(provider_tokens, ledger, rules, development=True)
        control = Listener(Control(ledger, rules, tokens), None, http1=True)
        async with AsyncExitStack() as stack:
            if calls is not None:
                log = CallLog(calls)
                stack.callback(log.close)
                google, apple = Witness(google, Provider.FCM, ledger, log), Witness(apple, Provider.APN, ledger, log)
                apple_development = Witness(apple_development, Provider.APN, ledger, log)
            fcm = Listener(google, fcm_tls, http1=True)
            apns = Listener(apple, apns_tls, http1=False)
            development = Listener(apple_development, apns_tls, http1=False)
            for listener in (fcm, apns, development, control):
                stack.push_async_callback(listener.close)
            fcm_port = await fcm.open(host, ports.fcm)
            apns_port = await apns.open(host, ports.apns)
            development_port = await development.open(host, ports.apns_sandbox)
            control_port = await control.open(host, ports.control)
            fcm_url = f"https://localhost:{fcm_port}"
            urls = Urls(
                control=f"http://{host}:{control_port}",
                fcm=fcm_url,
                oauth=f"{fcm_url}/token",
                apns=f"https://localhost:{apns_port}",
                apns_sandbox=f"https://localhost:{development_port}",
            )
            oauth.url = urls.oauth
            credentials.point_service_account_at(urls.oauth)
            yield cls(credentials, ledger, rules, tokens, urls)

    def describe(self) -> dict[str, str]:
        """What a client needs to know, as the ready line prints it."""
        return {
            "controlUrl": self.urls.control,
            "fcmUrl": self.urls.fcm,
            "oauthUrl": self.urls.oauth,
            "apnsUrl": self.urls.apns,
            "apnsSandboxUrl": self.urls.apns_sandbox,
            "caFile": str(self.identity.ca_file),
            "fcmKeyFile": str(self.identity.fcm_key_file),
            "apnsCertFile": str(self.identity.apns_cert_file),
            "apnsKeyFile": str(self.identity.apns_key_file),
            "apnsP8File": str(self.identity.apns_p8_file),
            "apnsKeyId": identity.APNS_KEY_ID,
            "apnsTeamId": identity.APNS_TEAM_ID,
            "apnsTopic": identity.APNS_TOPIC,
            "fcmProjectId": identity.PROJECT_ID,
        }
