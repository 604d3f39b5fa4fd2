"""A headless Chromium that shows one page, and the server that has the page and is told what it sees."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.external.outside import find

PATIENCE = 90.0
_OPTIONS = (
    "--headless",
    "--no-sandbox",  # its own sandbox, which root can't have
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


class Page:
    """One page at an origin of its own. Its scripts say what they see by `tell(...)`, in order."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.body = b""
        self.answers: Mapping[str, Callable[[], Any]] = {}
        self._told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def script(self, script: str) -> None:
        """What the page does."""
        tell = (
            'let told = Promise.resolve();\nfunction tell(what) {\n  told = told.then(() => fetch("/told", '
            '{ method: "POST", body: JSON.stringify(what) }));\n}\n'
        )
        self.body = f"<!doctype html><meta charset=utf-8><script>{tell}{script}</script>".encode()

    async def told(self) -> dict[str, Any]:
        """What the page says next."""
        async with asyncio.timeout(PATIENCE):
            return await self._told.get()

    async def told_until(self, last: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """All that the page says, up to and with the first that is so."""
        found = [await self.told()]
        while not last(found[-1]):
            found.append(await self.told())
        return found

    def take(self, what: dict[str, Any]) -> None:
        """From the server's thread."""
        self._loop.call_soon_threadsafe(self._told.put_nowait, what)


@contextmanager
def page() -> Iterator[Page]:
    """A page on a free port. Other paths are answered by its `answers`, as JSON."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/":
                self._answer("text/html", made.body)
            elif path in made.answers:
                self._answer("application/json", json.dumps(made.answers[path]()).encode())
            else:
                self.send_error(404)

        def do_POST(self) -> None:
            made.take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._answer("text/plain", b"")

        def _answer(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Page(f"http://127.0.0.1:{server.server_address[1]}")
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield made
        finally:
            server.shutdown()
            serving.join()


@asynccontextmanager
async def chromium(url: str, folder: Path) -> AsyncIterator[None]:
    """Shows the page until the end of the `with`."""
    log = folder / "chromium.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(find("chromium"), *_OPTIONS, f"--user-data-dir={folder / 'profile'}", url),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # our own: it leads its session
        await process.wait()
