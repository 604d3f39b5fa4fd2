"""Pharos' own push-only HTTP/2 transport, bare: what the senders put their messages into."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager

from server.providers.http2.pool import Http2Transport
from server.providers.transport import Origin, Request, SharedHeaders
from tests.benchmarks.clients import driving
from tests.benchmarks.clients.driving import Client, Job

_PATIENCE = 60.0
_OK = 200


@asynccontextmanager
async def client(job: Job) -> Client[Request]:
    """One connection, as many streams on it as pushes in flight."""
    origin = Origin(job.url, streams=job.in_flight, connections=1, proof=job.mode == "apns")
    transport = Http2Transport(origin, ssl.create_default_context(cafile=job.ca_file))
    shared = SharedHeaders(tuple(driving.shared_headers(job)))
    parts = zip(driving.paths(job), driving.own_headers(job), driving.bodies(job), strict=True)
    loop = asyncio.get_running_loop()

    async def send(request: Request) -> bool:
        return (await transport.post(request, loop.time() + _PATIENCE)).status == _OK

    yield [Request(path, shared, own, body) for path, own, body in parts], send
    await transport.aclose()


if __name__ == "__main__":
    driving.main(client)
