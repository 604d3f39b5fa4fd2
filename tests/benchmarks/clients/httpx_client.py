"""httpx with HTTP/2, as an application would use it."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager

import httpx

from tests.benchmarks.clients import driving
from tests.benchmarks.clients.driving import Client, Job

_OK = 200
_Message = tuple[str, dict[str, str], bytes]


@asynccontextmanager
async def client(job: Job) -> Client[_Message]:
    """One connection: httpcore puts at most 100 streams on it."""
    shared = dict(driving.shared_headers(job))
    parts = zip(driving.paths(job), driving.own_headers(job), driving.bodies(job), strict=True)
    messages = [(job.url + path, shared | dict(own), body) for path, own, body in parts]
    async with httpx.AsyncClient(
        http1=False,
        http2=True,
        verify=ssl.create_default_context(cafile=job.ca_file),
        trust_env=False,
        timeout=60,
        limits=httpx.Limits(max_connections=1),
    ) as http:

        async def send(message: _Message) -> bool:
            url, headers, body = message
            return (await http.post(url, headers=headers, content=body)).status_code == _OK

        yield messages, send


if __name__ == "__main__":
    driving.main(client)
