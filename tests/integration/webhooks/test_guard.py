"""No webhook is a way into the network that Pharos runs in, whatever names and redirects lead there."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_network
from pathlib import Path

import pytest

from server.domain.webhooks import DeliveryStatus
from server.webhooks import dialing, posting
from server.webhooks.addresses import AddressRules
from server.webhooks.posting import Poster
from tests.certificates import Authority
from tests.integration.webhooks.deliverers import LOOPBACK, Deliverers, Owner
from tests.integration.webhooks.receiver import Receiver, answer, receiving

_PUBLIC_ONLY = AddressRules()
_ONE = AddressRules((ip_network("127.0.0.1/32"),))


class Names:
    """A name server whose answers change: the next one each time, the last one for good."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def resolve(self, host: str, _port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def secure(authority: Authority) -> AsyncIterator[Receiver]:
    """A receiver that proves itself as hooks.example."""
    identity = authority.issue("hooks.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate_file, identity.key_file)
    async with receiving(context) as receiver:
        yield receiver


@pytest.mark.usefixtures("quick")
async def test_a_webhook_that_leads_inside_gets_nothing_and_its_log_says_why(
    owner: Owner, deliverers: Deliverers, receiver: Receiver
) -> None:
    webhook = await owner.webhook(receiver.url(host="localhost", scheme="https"), "pharos.operation.completed")
    await owner.send()
    deliverers.start(_PUBLIC_ONLY)
    (failed,) = await owner.settled(webhook, 1, DeliveryStatus.FAILED)
    assert (failed.error, failed.response_status) == ("ADDRESS_REFUSED", 0)
    assert receiver.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_no_spelling_of_this_machine_is_connected_to(receiver: Receiver, host: str, scheme: str) -> None:
    poster = Poster(_PUBLIC_ONLY)
    got = await poster.post(receiver.url(host=host, scheme=scheme), {}, b"{}")
    assert got.error in {"ADDRESS_REFUSED", "NAME_NOT_FOUND"}
    assert receiver.connections == 0
    await poster.aclose()


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "::1", "::ffff:127.0.0.1", "fe80::1%lo", "fd00::1"],
)
async def test_no_name_that_leads_inside_is_connected_to(receiver: Receiver, address: str) -> None:
    poster = Poster(_PUBLIC_ONLY, resolve=Names([address]).resolve)
    assert (await poster.post(f"https://hooks.example:{receiver.port}/", {}, b"{}")).error == "ADDRESS_REFUSED"
    assert receiver.connections == 0
    await poster.aclose()


async def test_of_several_addresses_only_permitted_ones_are_tried(receiver: Receiver) -> None:
    poster = Poster(_ONE, resolve=Names(["127.0.0.2", "127.0.0.1"]).resolve)
    assert (await poster.post(f"http://hooks.example:{receiver.port}/", {}, b"{}")).delivered
    await poster.aclose()


async def test_a_name_is_looked_up_once_a_connection_and_what_was_checked_is_connected_to(receiver: Receiver) -> None:
    """DNS rebinding: the second answer, which leads inside, is not what the connection is made to."""
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    poster = Poster(_ONE, resolve=names.resolve)
    url = f"http://hooks.example:{receiver.port}/"
    receiver.answers = [answer(200, "connection: close")]
    assert (await poster.post(url, {}, b"{}")).delivered
    assert names.asked == ["hooks.example"]
    assert (await poster.post(url, {}, b"{}")).error == "ADDRESS_REFUSED"
    assert receiver.connections == 1
    await poster.aclose()


async def test_a_name_server_that_does_not_answer_holds_up_no_other_name(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, looked_up = threading.Event(), []

    def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        looked_up.append(host)
        if host == "stuck.example":
            assert answered.wait(30)
        return [(0, 0, 0, "", ("127.0.0.1", port))]

    monkeypatch.setattr(dialing.socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(posting, "ATTEMPT_SECONDS", 0.5)
    poster = Poster(LOOPBACK)
    stuck = [poster.post(receiver.url(host="stuck.example"), {}, b"{}") for _ in range(200)]
    assert {each.error for each in await asyncio.gather(*stuck)} == {"NO_ANSWER_IN_TIME"}
    assert looked_up == ["stuck.example"]
    assert (await poster.post(receiver.url(host="hooks.example"), {}, b"{}")).delivered
    answered.set()
    await poster.aclose()


async def test_tls_and_the_host_header_keep_the_name(secure: Receiver, authority: Authority) -> None:
    poster = Poster(LOOPBACK, authority.file, Names(["127.0.0.1"]).resolve)
    assert (await poster.post(f"https://hooks.example:{secure.port}/in", {}, b"{}")).delivered
    assert secure.got[0].headers["host"] == f"hooks.example:{secure.port}"
    wrong = await poster.post(f"https://other.example:{secure.port}/in", {}, b"{}")
    assert (wrong.error, len(secure.got)) == ("TLS_FAILED", 1)
    await poster.aclose()


async def test_unknown_authorities_are_not_trusted(secure: Receiver) -> None:
    poster = Poster(LOOPBACK, resolve=Names(["127.0.0.1"]).resolve)
    assert (await poster.post(f"https://hooks.example:{secure.port}/in", {}, b"{}")).error == "TLS_FAILED"
    await poster.aclose()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(receiver: Receiver, status: int) -> None:
    async with receiving() as inside:
        receiver.always = answer(status, f"location: {inside.url()}")
        poster = Poster(LOOPBACK)
        got = await poster.post(receiver.url(), {}, b"{}")
        assert (got.status, got.delivered) == (status, False)
        assert inside.connections == 0
        await poster.aclose()


async def test_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving() as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url(""))
        poster = Poster(LOOPBACK)
        assert (await poster.post(receiver.url(), {}, b"{}")).delivered
        assert proxy.connections == 0
        await poster.aclose()


async def test_a_long_answer_is_not_read(receiver: Receiver) -> None:
    receiver.always = b"HTTP/1.1 200 X\r\ncontent-length: 1000000000\r\n\r\n" + b"x" * 100_000
    poster = Poster(LOOPBACK)
    for _ in range(2):
        assert (await poster.post(receiver.url(), {}, b"{}")).delivered
    assert receiver.connections == 2  # the rest of the first answer went with its connection
    await poster.aclose()


async def test_a_short_answer_keeps_the_connection(receiver: Receiver) -> None:
    receiver.always = answer(200, body=b"thanks")
    poster = Poster(LOOPBACK)
    for _ in range(3):
        assert (await poster.post(receiver.url(), {}, b"{}")).delivered
    assert receiver.connections == 1
    await poster.aclose()


async def test_who_does_not_answer_is_given_up(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "ATTEMPT_SECONDS", 0.1)
    receiver.hold()
    poster = Poster(LOOPBACK)
    assert (await poster.post(receiver.url(), {}, b"{}")).error == "NO_ANSWER_IN_TIME"
    await poster.aclose()


async def test_the_status_stands_though_the_body_drips_until_the_time_is_over(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "ATTEMPT_SECONDS", 0.5)  # less than an answer's body has
    receiver.always = b"HTTP/1.1 200 X\r\ncontent-length: 1000\r\n\r\nx"
    poster = Poster(LOOPBACK)
    assert (await poster.post(receiver.url(), {}, b"{}")).delivered
    await poster.aclose()


@pytest.mark.parametrize("raw", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 X\r\n" + b"a: " + b"x" * 200_000 + b"\r\n\r\n"])
async def test_what_is_no_answer_is_a_failure(receiver: Receiver, raw: bytes) -> None:
    receiver.always = raw
    poster = Poster(LOOPBACK)
    got = await poster.post(receiver.url(), {}, b"{}")
    assert (got.status, got.error) == (0, "BAD_ANSWER")
    await poster.aclose()


async def test_a_closed_port_and_an_unknown_name_are_told_apart(receiver: Receiver) -> None:
    async with receiving() as gone:
        url = gone.url()
    poster = Poster(LOOPBACK)
    assert (await poster.post(url, {}, b"{}")).error == "CONNECT_FAILED"

    async def unknown(_host: str, _port: int) -> Sequence[str]:
        raise OSError

    unresolved = Poster(LOOPBACK, resolve=unknown)
    assert (await unresolved.post(receiver.url(host="hooks.example"), {}, b"{}")).error == "NAME_NOT_FOUND"
    await poster.aclose()
    await unresolved.aclose()
