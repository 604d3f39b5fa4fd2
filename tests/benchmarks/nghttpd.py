"""nghttpd as FCM: it answers in few, large TLS records, so that a client's own work shows most.

It serves files. The one that is there is FCM's path; the malformed push goes to another, and gets a 404. It keeps no
log that could be counted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sandbox.identity import Identity
from tests.benchmarks import programs
from tests.benchmarks.target import FCM_PATH

ABSENT = "/v1/projects/absent/messages:send"


@asynccontextmanager
async def running(folder: Path, credentials: Identity, streams: int) -> AsyncIterator[str]:
    """Its URL, while this lasts. Raises NotMeasuredError."""
    program = programs.find("nghttpd")
    answer = folder / FCM_PATH[1:]
    answer.parent.mkdir(parents=True)
    answer.write_text('{"name":"projects/pharos-sandbox/messages/0:1800000000000000%31bd1c9631bd1c96"}')
    certificate, key = credentials.server_files
    port = programs.free_port()
    options = ("-a", "127.0.0.1", "-d", str(folder), "-m", str(streams), "--workers=1")
    async with programs.serving("nghttpd", port, program, *options, str(port), str(key), str(certificate)):
        yield f"https://localhost:{port}"
