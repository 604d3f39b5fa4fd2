"""Keys, certificates and a scripted HTTP/2 server, all made at test time."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import functools
import json
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)


def pem_of(key: CertificateIssuerPrivateKeyTypes) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@functools.cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def _name(common_name: str, uid: str | None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if uid is not None:
        attributes.append(x509.NameAttribute(NameOID.USER_ID, uid))
    return x509.Name(attributes)


@dataclass
class Authority:
    """A certificate authority. Certificates are valid for 30 days round today unless told otherwise."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def issue(
        self,
        key: CertificateIssuerPrivateKeyTypes,
        uid: str | None = None,
        not_before: dt.datetime | None = None,
        not_after: dt.datetime | None = None,
        *,
        is_authority: bool = False,
    ) -> str:
        today = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name("authority" if is_authority else "localhost", uid))
            .issuer_name(_name("authority", None))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before or today - dt.timedelta(days=30))
            .not_valid_after(not_after or today + dt.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        )
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()

    @functools.cached_property
    def certificate(self) -> str:
        return self.issue(self.key, is_authority=True)


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="session")
def ca_file(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    path.write_text(authority.certificate)
    return path


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def service_account(**changes: object) -> dict[str, object]:
    """A service-account file as Firebase gives it out; None leaves a key out."""
    document = {
        "type": "service_account",
        "project_id": "demo-project",
        "private_key_id": "0123456789abcdef",
        "private_key": pem_of(rsa_key()),
        "client_email": "push@demo-project.iam.gserviceaccount.com",
        "token_uri": "https://evil.example/token",
        **changes,
    }
    return {name: value for name, value in document.items() if value is not None}


@dataclass
class Samples:
    """Makes the pieces of credentials, good unless told otherwise."""

    authority: Authority
    now: dt.datetime = NOW

    b64 = staticmethod(b64)
    pem_of = staticmethod(pem_of)
    rsa_key = staticmethod(rsa_key)
    service_account = staticmethod(service_account)

    def service_account_file(self, **changes: object) -> str:
        return b64(json.dumps(service_account(**changes)))

    @functools.cached_property
    def p256(self) -> ec.EllipticCurvePrivateKey:
        return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="session")
def samples(authority: Authority) -> Samples:
    return Samples(authority)


@dataclass
class Received:
    """A request as the server saw it."""

    headers: dict[str, str]
    stream_id: int
    connection: ServerConnection
    body: bytes = b""

    def respond(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        pairs = [(":status", str(status)), *((name.replace("_", "-"), value) for name, value in headers.items())]
        self.connection.h2.send_headers(self.stream_id, pairs, end_stream=not body)
        if body:
            self.connection.h2.send_data(self.stream_id, body, end_stream=True)

    def begin_response(self, status: int) -> None:
        """Headers that promise a body which never comes."""
        self.connection.h2.send_headers(self.stream_id, [(":status", str(status)), ("content-length", "10")])

    def reset(self, code: int) -> None:
        self.connection.h2.reset_stream(self.stream_id, code)

    def go_away(self, last_stream_id: int) -> None:
        self.connection.h2.close_connection(last_stream_id=last_stream_id)


class ServerConnection(asyncio.Protocol):
    def __init__(self, server: Http2Server) -> None:
        self.server = server
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.requests: dict[int, Received] = {}
        self.transport: asyncio.Transport
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server.connections.append(self)
        self.h2.initiate_connection()
        self.flush()

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                assert event.stream_id is not None
                headers = {str(name): str(value) for name, value in event.headers or ()}
                self.requests[event.stream_id] = Received(headers, event.stream_id, self)
            elif isinstance(event, h2.events.DataReceived):
                self.requests[event.stream_id].body += event.data
            elif isinstance(event, h2.events.StreamEnded):
                request = self.requests[event.stream_id]
                self.server.requests.append(request)
                self.server.arrived.put_nowait(request)
                self.server.script(request)
        self.flush()

    def flush(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(self.h2.data_to_send())

    def limit_streams(self, limit: int) -> None:
        self.h2.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: limit})
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(exc)


class Http2Server:
    """Speaks TLS and HTTP/2 on a free port of the loopback; ``script`` is called with every whole request."""

    def __init__(self) -> None:
        self.script: Callable[[Received], None] = Received.respond
        self.requests: list[Received] = []
        self.arrived: asyncio.Queue[Received] = asyncio.Queue()
        self.connections: list[ServerConnection] = []
        self.origin = ""

    async def start(self, tls: ssl.SSLContext) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: ServerConnection(self), "localhost", 0, ssl=tls)
        self.origin = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        return server


@pytest.fixture(scope="session")
def server_files(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("server")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_text(authority.issue(key))
    key_file.write_text(pem_of(key))
    return certificate_file, key_file


@pytest.fixture
def server_tls(server_files: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*server_files)
    context.set_alpn_protocols(["h2"])
    return context


@pytest.fixture
async def h2_server(server_tls: ssl.SSLContext) -> AsyncIterator[Http2Server]:
    scripted = Http2Server()
    server = await scripted.start(server_tls)
    yield scripted
    server.close()
    for connection in scripted.connections:
        connection.transport.abort()
    await asyncio.gather(*(connection.lost for connection in scripted.connections))
    await server.wait_closed()
