"""Both transports against HTTP/2 servers that are not ours: nghttp2's nghttpd, nginx, and Node's http2 module."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from server.providers import tls
from server.providers.transport import NotSentError, Response
from tests.certificates import Authority, Identity
from tests.contract.fates import LATER, SOON, Fate, Tally, audit, ended, paths, post, post_all, tally
from tests.contract.wires import KINDS, Wire
from tests.external.http2_servers import Nghttpd, Nginx, NodeServer, OutsideServer

PATIENCE = 60.0
KEPT = 64 * 1024


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def identity(authority: Authority) -> Identity:
    return authority.issue()


@pytest.fixture(params=KINDS)
async def wire(request: pytest.FixtureRequest, authority: Authority) -> AsyncIterator[Wire]:
    async with Wire(request.param, authority.file) as wire:
        yield wire


def bodies(fates: Sequence[Fate]) -> dict[str, bytes]:
    return {fate.path: fate.result.body for fate in fates if isinstance(fate.result, Response)}


def echo_of(path: str) -> bytes:
    """A body that no other request has."""
    return json.dumps({"path": path, "text": "é" * (len(path) % 7)}).encode()


async def post_echoes(
    wire: Wire, server: OutsideServer, targets: Sequence[str], streams: int = 100, seconds: float = PATIENCE
) -> list[Fate]:
    transport = wire.connect(server.origin, streams=streams)
    posts = [asyncio.ensure_future(post(transport, path, seconds, echo_of(path))) for path in targets]
    return await ended(posts, seconds)


async def judge(wire: Wire, fates: Sequence[Fate], server: OutsideServer, expected: Tally) -> None:
    await server.wrote({fate.path for fate in fates if isinstance(fate.result, Response)})
    found = audit(fates, server.processed)
    if wire.exact:
        assert found == expected, {fate.code for fate in fates}


# nghttpd


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--max-concurrent-streams=1",),
        ("--max-concurrent-streams=3", "--window-bits=1", "--connection-window-bits=16"),
        ("--window-bits=5",),
        ("--header-table-size=0", "--encoder-header-table-size=0"),
        ("--padding=255", "--trailer=x-checksum: 1"),
        ("--early-response",),
    ],
    ids=lambda options: " ".join(options) or "plain",
)
async def test_nghttpd(wire: Wire, identity: Identity, tmp_path: Path, options: tuple[str, ...]) -> None:
    async with Nghttpd(tmp_path, identity, *options) as server:
        fates = await post_echoes(wire, server, paths(1000))
        await judge(wire, fates, server, Tally(answered=1000))
        if "--early-response" not in options:
            assert all(body == echo_of(path) for path, body in bodies(fates).items())


async def test_nghttpd_is_killed_and_started_again(wire: Wire, identity: Identity, tmp_path: Path) -> None:
    async with Nghttpd(tmp_path, identity) as server:
        transport = wire.connect(server.origin)
        assert (await post(transport, "/first")).code == "200"
        server.kill()
        gone = await post_all(transport, paths(20, "/gone/"), SOON)
        assert tally(gone).answered == 0
        await server.start()
        waves = [await post_all(transport, paths(20, f"/{wave}/"), 3 * SOON) for wave in range(3)]
        assert tally(waves[-1]) == Tally(answered=20)
        audit([*gone, *(fate for wave in waves for fate in wave)], server.processed)


# nginx


async def test_nginx_ends_its_connections_gracefully(wire: Wire, identity: Identity, tmp_path: Path) -> None:
    """Every 1,000 requests, with GOAWAY: of 5,000 none is lost and none comes twice, by its own log."""
    async with Nginx(tmp_path, identity, "keepalive_requests 1000;") as server:
        fates = await post_echoes(wire, server, paths(5000))
        await judge(wire, fates, server, Tally(answered=5000))
        assert all(body == f"answer to {path}".encode() for path, body in bodies(fates).items() if body)
        if wire.exact:
            assert server.processed == dict.fromkeys(paths(5000), 1)


@pytest.mark.parametrize("limit", [1, 5, 128])
async def test_nginx_with_few_streams(wire: Wire, identity: Identity, tmp_path: Path, limit: int) -> None:
    async with Nginx(tmp_path, identity, f"http2_max_concurrent_streams {limit};") as server:
        fates = await post_echoes(wire, server, [*paths(500), *paths(10, "/slow/")], streams=1000)
        await judge(wire, fates, server, Tally(answered=510))


async def test_nginx_with_sixteen_mebibytes(wire: Wire, identity: Identity, tmp_path: Path) -> None:
    async with Nginx(tmp_path, identity) as server:
        fates = await post_echoes(wire, server, [*paths(4, "/huge/"), *paths(200)], seconds=LATER)
        # nginx writes its log when an answer is over; httpx neither takes these nor resets them.
        await judge(wire, fates if wire.exact else fates[4:], server, Tally(answered=204))
        assert all(len(body) <= KEPT for body in bodies(fates).values())


async def test_nginx_wants_our_certificate(
    wire: Wire, authority: Authority, identity: Identity, tmp_path: Path
) -> None:
    options = f"ssl_verify_client on; ssl_client_certificate {authority.file};"
    async with Nginx(tmp_path, identity, options) as server:
        own = authority.issue("com.example.app")
        known = wire.connect(server.origin, tls.identified(authority.file, own.certificate, own.private_key))
        fates = await post_all(known, paths(100))
        await judge(wire, fates, server, Tally(answered=100))
        strangers = await post_all(wire.connect(server.origin), paths(5, "/stranger/"))
        assert {fate.code for fate in strangers} == {"400"}
        stranger = Authority(tmp_path / "files").issue("com.example.app")
        context = tls.identified(authority.file, stranger.certificate, stranger.private_key)
        assert {fate.code for fate in await post_all(wire.connect(server.origin, context), paths(5))} == {"400"}


@pytest.mark.parametrize("trouble", ["wrong name", "expired", "untrusted"])
async def test_nginx_is_not_to_be_trusted(wire: Wire, authority: Authority, tmp_path: Path, trouble: str) -> None:
    identity = {
        "wrong name": lambda: authority.issue("api.push.example"),
        "expired": lambda: authority.issue(ends_in=-dt.timedelta(hours=1)),
        "untrusted": lambda: Authority(tmp_path).issue(),
    }[trouble]()
    async with Nginx(tmp_path, identity) as server:
        fates = await post_all(wire.connect(server.origin), paths(10), SOON)
        assert audit(fates, server.processed) == Tally(not_sent=10)
        assert server.ledger() == []


async def test_nginx_is_killed_in_full_flight(wire: Wire, identity: Identity, tmp_path: Path) -> None:
    """What was under way is unknown, what comes meanwhile is not sent, what comes afterwards is served."""
    async with Nginx(tmp_path, identity) as server:
        transport = wire.connect(server.origin, streams=20)
        await post(transport, "/warm")
        posts = [asyncio.ensure_future(post(transport, path)) for path in paths(20, "/never/")]
        assert (await post(transport, "/behind", SOON)).code in ("NO_STREAM_IN_TIME", "200")
        server.kill()
        fates = await ended(posts)
        if wire.exact:
            assert tally(fates) == Tally(unknown=20)
        gone = await post_all(transport, paths(10, "/gone/"), SOON)
        assert tally(gone).answered == 0
        assert all(isinstance(fate.result, NotSentError) for fate in gone) or not wire.exact
        await server.start()
        again = [await post_all(transport, paths(20, f"/{wave}/"), 3 * SOON) for wave in range(3)]
        assert tally(again[-1]) == Tally(answered=20)


# Node


@pytest.mark.parametrize(
    "settings",
    [{}, {"maxConcurrentStreams": 4}, {"initialWindowSize": 20}, {"headerTableSize": 0, "maxConcurrentStreams": 50}],
    ids=lambda settings: ", ".join(settings) or "plain",
)
async def test_node(wire: Wire, identity: Identity, tmp_path: Path, settings: dict[str, int]) -> None:
    async with NodeServer(tmp_path, identity, **settings) as server:
        targets = [*paths(1500, "/echo/"), *paths(100, "/slow/"), *paths(50, "/trailers/"), *paths(50, "/early/")]
        fates = await post_echoes(wire, server, targets)
        await judge(wire, fates, server, Tally(answered=1700))
        assert all(body == echo_of(path) for path, body in bodies(fates).items() if body)


async def test_node_changes_its_limits_in_flight(wire: Wire, identity: Identity, tmp_path: Path) -> None:
    async with NodeServer(tmp_path, identity, maxConcurrentStreams=200) as server:
        fates = await post_echoes(wire, server, paths(400, "/limits/"), streams=200)
        await judge(wire, fates, server, Tally(answered=400))


async def test_node_refuses_some(wire: Wire, identity: Identity, tmp_path: Path) -> None:
    async with NodeServer(tmp_path, identity) as server:
        fates = await post_echoes(wire, server, paths(200, "/refuse/"))
        await judge(wire, fates, server, Tally(answered=200))


async def test_node_resets(wire: Wire, identity: Identity, tmp_path: Path) -> None:
    async with NodeServer(tmp_path, identity) as server:
        fates = await post_echoes(wire, server, [*paths(20, "/reset/"), *paths(100, "/echo/")])
        await judge(wire, fates, server, Tally(answered=100, unknown=20))


async def test_node_leaves_in_good_order(wire: Wire, identity: Identity, tmp_path: Path) -> None:
    async with NodeServer(tmp_path, identity) as server:
        fates = await post_echoes(wire, server, paths(1000, "/leave/"))
        await judge(wire, fates, server, Tally(answered=1000))
        if wire.exact:
            assert server.processed == dict.fromkeys(paths(1000, "/leave/"), 1)


async def test_node_leaves_some_unprocessed(wire: Wire, identity: Identity, tmp_path: Path) -> None:
    async with NodeServer(tmp_path, identity) as server:
        fates = await post_echoes(wire, server, paths(300, "/below/"))
        found = audit(fates, server.processed)
        if wire.exact:
            assert found.not_sent == 0
            assert found.answered >= 250


async def test_node_with_sixteen_mebibytes(wire: Wire, identity: Identity, tmp_path: Path) -> None:
    async with NodeServer(tmp_path, identity) as server:
        fates = await post_echoes(wire, server, [*paths(3, "/huge/"), *paths(200, "/echo/")], seconds=LATER)
        await judge(wire, fates, server, Tally(answered=203))
        assert all(len(body) <= KEPT for body in bodies(fates).values())


async def test_node_is_killed_in_full_flight(wire: Wire, identity: Identity, tmp_path: Path) -> None:
    """Its ledger is written before it answers, so it knows of every request that it ever took."""
    async with NodeServer(tmp_path, identity) as server:
        transport = wire.connect(server.origin)
        await post(transport, "/echo/warm")
        targets = [*paths(50, "/never/"), *paths(400, "/slow/")]
        posts = [asyncio.ensure_future(post(transport, path)) for path in targets]
        while len(server.ledger()) < 150 and not all(work.done() for work in posts):  # noqa: ASYNC110 - another process's file
            await asyncio.sleep(0.01)
        server.kill()
        fates = await ended(posts)
        found = audit(fates, server.processed)
        assert found.unknown >= 50 or not wire.exact
        await server.start()
        waves = [await post_all(transport, paths(50, f"/echo/{wave}/"), 3 * SOON) for wave in range(3)]
        assert tally(waves[-1]) == Tally(answered=50)
        audit([*fates, *(fate for wave in waves for fate in wave)], server.processed)


async def test_node_falls_silent_and_wakes(wire: Wire, identity: Identity, tmp_path: Path) -> None:
    """Stopped, it still takes connections and bytes. Awake, it works off what reached it: nothing of it "not sent"."""
    async with NodeServer(tmp_path, identity) as server:
        transport = wire.connect(server.origin)
        await post(transport, "/echo/warm")
        server.send(signal.SIGSTOP)
        fates: list[Fate] = []
        for wave in range(4):
            fates += await post_all(transport, paths(150, f"/echo/{wave}/"), SOON)
        assert tally(fates).answered == 0
        server.send(signal.SIGCONT)
        again = [await post_all(transport, paths(20, f"/echo/awake/{wave}/"), 3 * SOON) for wave in range(4)]
        assert tally(again[-1]) == Tally(answered=20)
        audit([*fates, *(fate for wave in again for fate in wave)], server.processed)


async def test_node_is_silent_from_the_beginning(wire: Wire, identity: Identity, tmp_path: Path) -> None:
    """A connection that the kernel takes and nobody greets: nothing is sent on it, not even later."""
    async with NodeServer(tmp_path, identity) as server:
        server.send(signal.SIGSTOP)
        transport = wire.connect(server.origin)
        fates = await post_all(transport, paths(30, "/echo/"), SOON)
        assert tally(fates) == Tally(not_sent=30)
        server.send(signal.SIGCONT)
        async with asyncio.timeout(LATER):
            while (await post(transport, "/echo/awake", SOON)).code != "200":
                pass
        audit(fates, server.processed)
