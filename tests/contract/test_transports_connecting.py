"""Both transports on their way to a connection: TLS that fails, ports where nothing is, pools, storms, goodbyes."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from pathlib import Path

import pytest
from h2.settings import SettingCodes

from server.providers import tls
from server.providers.transport import CertificateRefusedError, NotSentError
from tests.certificates import Authority
from tests.contract.fates import LATER, SOON, Fate, Tally, ended, paths, post, post_all, tally
from tests.contract.http2_exchange import Exchange
from tests.contract.http2_peer import Peer
from tests.contract.http2_server import ScriptedServer
from tests.contract.raw_servers import answering, handshaking, unused_port
from tests.contract.scripts import Gate, ignore, process
from tests.contract.wires import Wire


@pytest.mark.parametrize("trouble", ["wrong name", "expired", "untrusted"])
async def test_a_server_that_is_not_to_be_trusted(
    wire: Wire, authority: Authority, tmp_path: Path, trouble: str
) -> None:
    """Nothing is said to it, not even a token."""
    identity = {
        "wrong name": lambda: authority.issue("api.push.example"),
        "expired": lambda: authority.issue(ends_in=-dt.timedelta(hours=1)),
        "untrusted": lambda: Authority(tmp_path).issue(),
    }[trouble]()
    async with ScriptedServer(identity.server_context()) as server:
        fates = await post_all(wire.connect(server.origin), paths(20), 2 * SOON)
        assert wire.judge(fates, server) == Tally(not_sent=20)
        assert server.exchanges == []
        if wire.exact:
            assert "TLS_FAILED" in {fate.code for fate in fates}
            assert server.accepted <= 12
            assert server.most_connecting == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("trouble", ["expired", "untrusted", "none"])
async def test_our_certificate_is_refused(
    wire: Wire, authority: Authority, tmp_path: Path, version: ssl.TLSVersion, trouble: str
) -> None:
    """In TLS 1.3 the handshake is over for us before the server has looked at it."""
    context = authority.issue().server_context()
    context.minimum_version = context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.file)
    own = {
        "expired": lambda: authority.issue("com.example.app", -dt.timedelta(hours=1)),
        "untrusted": lambda: Authority(tmp_path).issue("com.example.app"),
        "none": lambda: None,
    }[trouble]()
    presented = tls.trusting(authority.file)
    if own is not None:
        presented = tls.identified(authority.file, own.certificate, own.private_key)
    with handshaking(context) as listener:
        fates = await post_all(wire.connect(listener.origin, presented), paths(3), 2 * SOON)
        assert tally(fates).answered == 0
        if wire.exact:
            assert tally(fates) == Tally(not_sent=3)
            refused = [isinstance(fate.result, CertificateRefusedError) for fate in fates]
            vague = own is None and version is ssl.TLSVersion.TLSv1_2  # its alert is only "handshake failure"
            assert vague or any(refused), [fate.code for fate in fates]
    assert "" not in listener.handshakes


async def test_our_certificate_is_presented(wire: Wire, authority: Authority) -> None:
    context = authority.issue().server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.file)
    own = authority.issue("com.example.app")
    async with ScriptedServer(context) as server:
        transport = wire.connect(server.origin, tls.identified(authority.file, own.certificate, own.private_key))
        assert wire.judge(await post_all(transport, paths(10)), server) == Tally(answered=10)
        [peer] = server.peers
        assert peer.transport.get_extra_info("peercert")["subject"] == ((("commonName", "com.example.app"),),)


async def test_nobody_listens(wire: Wire) -> None:
    fates = await post_all(wire.connect(f"https://localhost:{unused_port()}"), paths(20), SOON)
    assert tally(fates) == Tally(not_sent=20)
    assert "CONNECT_FAILED" in {fate.code for fate in fates}


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS without ALPN"])
async def test_no_http2_there(wire: Wire, authority: Authority, secure: bool) -> None:  # noqa: FBT001 - the parameter of the test
    context = authority.issue().server_context() if secure else None
    if context is not None:
        context.set_alpn_protocols(["http/1.1"])
    async with answering(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", context) as listener:
        fates = await post_all(wire.connect(listener.origin), paths(10), 2 * SOON)
        found = tally(fates)
        assert found.answered == 0
        if wire.exact:
            assert found == Tally(not_sent=10)
            assert listener.accepted <= 12


async def test_a_handshake_that_never_ends(wire: Wire) -> None:
    """At most one connection is being made, however many wait, and none is left behind."""
    async with answering(None) as listener:
        transport = wire.connect(listener.origin, connections=5, streams=10)
        fates = await post_all(transport, paths(200), SOON)
        assert tally(fates) == Tally(not_sent=200)
        if wire.exact:
            assert listener.most_open == 1


async def test_settings_that_never_come(wire: Wire, server: ScriptedServer) -> None:
    server.greeting = None
    fates = await post_all(wire.connect(server.origin), paths(20), SOON)
    wire.judge(fates, server, Tally(not_sent=20))
    assert not (wire.exact and server.exchanges)


async def test_attempts_are_spaced_out(wire: Wire, server: ScriptedServer) -> None:
    """Posts that come one after another do not turn a dead server into a storm."""
    server.welcome = Peer.cut
    transport = wire.connect(server.origin)
    fates: list[Fate] = []
    begun = asyncio.get_running_loop().time()
    while asyncio.get_running_loop().time() < begun + 2 * SOON:
        fates += await post_all(transport, paths(5, f"/{len(fates)}/"), SOON)
    wire.judge(fates, server, Tally(not_sent=len(fates)))
    if wire.exact:
        assert server.accepted <= 12


async def test_after_failures_it_works_again(wire: Wire, server: ScriptedServer) -> None:
    usual = server.welcome
    server.welcome = lambda peer: usual(peer) if len(server.peers) > 3 else peer.cut()
    transport = wire.connect(server.origin)
    waves = [tally(await post_all(transport, paths(5, f"/{wave}/"), 3 * SOON)) for wave in range(5)]
    assert waves[-1] == Tally(answered=5)


async def test_connections_grow_under_load_one_at_a_time(wire: Wire, server: ScriptedServer) -> None:
    """Up to the origin's number; streams up to its own."""
    server.script = gate = Gate()
    transport = wire.connect(server.origin, streams=10, connections=3)
    posts = [asyncio.ensure_future(post(transport, path)) for path in paths(100)]
    if wire.exact:
        await server.arrivals(30)
        assert [len(peer.open) for peer in server.peers] == [10, 10, 10]
    gate.open()
    assert wire.judge(await ended(posts), server) == Tally(answered=100)
    if wire.exact:
        assert server.accepted == 3
        assert max(peer.most_open for peer in server.peers) == 10


async def test_little_load_needs_one_connection(wire: Wire, server: ScriptedServer) -> None:
    transport = wire.connect(server.origin, streams=10, connections=3)
    for turn in range(10):
        await post_all(transport, paths(5, f"/{turn}/"))
    assert server.accepted == 1


async def test_cold_posts_share_one_handshake(wire: Wire, server: ScriptedServer) -> None:
    fates = await post_all(wire.connect(server.origin, streams=1000), paths(400))
    assert wire.judge(fates, server) == Tally(answered=400)
    assert server.accepted == 1


async def test_one_stream_until_authenticated(wire: Wire, server: ScriptedServer) -> None:
    """Apple allows no more, whatever its settings say; a refusal of the token proves nothing."""
    gate = Gate()
    server.script = lambda exchange: exchange.answer(403) if len(server.exchanges) <= 2 else gate(exchange)
    transport = wire.connect(server.origin, proof=True)
    posts = [asyncio.ensure_future(post(transport, path)) for path in paths(50)]
    await server.arrivals(3)
    server.peers[0].send_ping(b"nothing?")
    await server.until(lambda: b"nothing?" in server.peers[0].pings)
    if wire.exact:
        assert len(server.exchanges) == 3
        assert server.peers[0].most_open == 1
        gate.release(1)
        await server.arrivals(50)
        assert server.peers[0].most_open == 47
    gate.open()
    wire.judge(await ended(posts), server, Tally(answered=50))


async def test_every_connection_is_proven_anew(wire: Wire, server: ScriptedServer) -> None:
    transport = wire.connect(server.origin, proof=True)
    await post_all(transport, paths(20))
    await server.until(lambda: not server.peers[0].open)
    server.peers[0].cut()
    gate = server.script = Gate()
    if wire.exact:
        await asyncio.wait_for(asyncio.shield(server.peers[0].lost), LATER)
    posts = [asyncio.ensure_future(post(transport, path)) for path in paths(20, "/new/")]
    await wire.reach(server, lambda: len(server.exchanges) == 21, posts)
    if wire.exact:
        server.peers[1].send_ping(b"nothing?")
        await server.until(lambda: b"nothing?" in server.peers[1].pings)
        assert len(server.exchanges) == 21
    gate.open()
    wire.judge(await ended(posts), server, Tally(answered=20))


async def test_renewed_it_takes_a_fresh_connection(wire: Wire, server: ScriptedServer) -> None:
    """What is under way ends where it is, once."""
    server.script = gate = Gate()
    transport = wire.connect(server.origin)
    posts = [asyncio.ensure_future(post(transport, path)) for path in paths(20)]
    await server.arrivals(20)
    transport.renew()
    posts += [asyncio.ensure_future(post(transport, path)) for path in paths(20, "/fresh/")]
    await server.arrivals(40)
    assert [len(peer.open) for peer in server.peers] == [20, 20]
    gate.open()
    assert wire.judge(await ended(posts), server) == Tally(answered=40)
    await server.until(server.peers[0].lost.done)


async def test_renewed_it_hands_back_what_was_not_sent(wire: Wire, server: ScriptedServer) -> None:
    """What those requests carry is why there was a renewal: no fresh connection may see it."""
    server.script = ignore
    transport = wire.connect(server.origin, streams=10)
    posts = [asyncio.ensure_future(post(transport, path)) for path in paths(20)]
    sent, waiting = posts[:10], posts[10:]
    await server.arrivals(10)
    transport.renew()
    if wire.exact:
        assert {fate.code for fate in await ended(waiting, SOON)} == {"RENEWED"}  # at once
    for exchange in server.peers[0].open:
        exchange.refuse()
    assert {fate.code for fate in await ended(waiting)} == {"RENEWED"}
    assert {fate.code for fate in await ended(sent)} == {"RENEWED" if wire.exact else "REFUSED_STREAM"}
    assert len(server.exchanges) == 10


async def test_what_comes_too_late_is_not_sent(wire: Wire, server: ScriptedServer) -> None:
    """Also where a stream is free: nobody would wait for its answer."""
    transport = wire.connect(server.origin)
    await post(transport)
    fates = [await post(transport, "/late", seconds) for seconds in (0.0, -1.0)]
    assert wire.judge(fates, server) == Tally(not_sent=2)
    assert len(server.exchanges) == 1


async def test_what_waited_too_long_is_not_sent_though_a_stream_is_free_now(wire: Wire, server: ScriptedServer) -> None:
    """The loop is busy past its deadline, and hears of the stream first."""
    server.script = gate = Gate()
    transport = wire.connect(server.origin, streams=1)
    first = asyncio.ensure_future(post(transport))
    await server.arrivals(1)
    loop = asyncio.get_running_loop()
    second = asyncio.ensure_future(post(transport, "/late", 0.2))
    await asyncio.sleep(0)
    over = loop.time() + 0.3
    gate.open()
    while loop.time() < over:
        pass
    found = wire.judge(await ended([first, second]), server)
    if wire.exact:
        assert found == Tally(answered=1, not_sent=1)
        assert len(server.exchanges) == 1


async def test_closed_it_loses_nothing(wire: Wire, server: ScriptedServer) -> None:
    """What waits for a stream is either served or certainly not sent."""
    server.greeting = {SettingCodes.MAX_CONCURRENT_STREAMS: 10}
    server.script = gate = Gate()
    transport = wire.connect(server.origin)
    posts = [asyncio.ensure_future(post(transport, path)) for path in paths(30)]
    await server.arrivals(10)
    closing = asyncio.ensure_future(transport.aclose())
    late = asyncio.ensure_future(post(transport, "/late"))
    assert isinstance((await late).result, NotSentError)
    gate.open()
    found = wire.judge(await ended(posts), server)
    assert found.unknown == 0
    assert found.answered >= 10
    await asyncio.wait_for(closing, LATER)
    await server.until(lambda: all(peer.lost.done() for peer in server.peers))
    assert server.accepted == 1


async def test_closed_without_ever_being_used(wire: Wire, server: ScriptedServer) -> None:
    transport = wire.connect(server.origin)
    await asyncio.wait_for(transport.aclose(), SOON)
    assert tally([await post(transport)]) == Tally(not_sent=1)
    assert server.accepted == 0


async def test_closing_does_not_wait_past_the_deadlines(wire: Wire, server: ScriptedServer) -> None:
    server.script = process
    transport = wire.connect(server.origin)
    posts = [asyncio.ensure_future(post(transport, path, SOON)) for path in paths(10)]
    await server.arrivals(10)
    closing = asyncio.ensure_future(transport.aclose())
    wire.judge(await ended(posts, SOON), server, Tally(unknown=10))
    await asyncio.wait_for(closing, LATER)


async def test_posts_given_up_while_connecting(wire: Wire) -> None:
    """Their cancelling ends them at once, and the transport still closes."""
    async with answering(None) as listener:
        transport = wire.connect(listener.origin)
        posts = [asyncio.ensure_future(post(transport, path)) for path in paths(10)]
        await asyncio.wait_for(listener.came.wait(), LATER)
        for work in posts:
            work.cancel()
        gathered = await asyncio.wait_for(asyncio.gather(*posts, return_exceptions=True), SOON)
        assert {type(result) for result in gathered} == {asyncio.CancelledError}
        await asyncio.wait_for(transport.aclose(), LATER)


async def test_posts_given_up_do_not_take_others_along(wire: Wire, server: ScriptedServer) -> None:
    """In waves, every second one cancelled while its answer is on the way."""
    server.script = lambda exchange: exchange.answer() if int(exchange.path[-1]) % 2 else ignore(exchange)
    transport = wire.connect(server.origin)
    kept: list[asyncio.Future[Fate]] = []
    for wave in range(5):
        posts = [asyncio.ensure_future(post(transport, path)) for path in paths(100, f"/{wave}/")]
        await server.arrivals(50 * (wave + 1))
        for work in posts[::2]:
            work.cancel()
        kept += posts[1::2]
    fates = await ended(kept)
    assert wire.judge(fates, server) == Tally(answered=250)
    server.script = Exchange.answer
    assert len(server.peers) == 1 or not wire.exact
