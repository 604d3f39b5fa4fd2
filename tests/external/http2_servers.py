"""HTTP/2 servers of others as processes of the test's own, and what each of them says that it processed."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.acceptance.programs import Program, clean_environment
from tests.certificates import Identity
from tests.external.outside import find

_UP_WITHIN = 20.0
_WRITTEN_WITHIN = 20.0
_NODE_SCRIPT = Path(__file__).with_name("http2") / "server.mjs"


class OutsideServer:
    """Use it with `async with`: inside, it listens. It can be killed, stopped and started again at the same port."""

    def __init__(self, command: Sequence[str | Path], folder: Path, port: int, ledger: Path) -> None:
        self.port = port
        self.origin = f"https://localhost:{port}"
        self._command = list(map(str, command))
        self._folder = folder
        self._log = folder / "log.txt"
        self._ledger = ledger
        self._process: subprocess.Popen[bytes] | None = None
        Program.logs.append(self._log)  # a failed test shows its end

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603, ASYNC220 - no shell, the test's own words; it only forks
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=clean_environment(),
                start_new_session=True,
            )
        await self._listens()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def ledger(self) -> list[str]:
        """The paths that it processed, in order."""
        return self._paths(self._ledger.read_text("utf-8", "replace")) if self._ledger.exists() else []

    @property
    def processed(self) -> Counter[str]:
        return Counter(self.ledger())

    async def wrote(self, paths: set[str]) -> None:
        """Returns once all of them are in the ledger, which some servers write after the answer; or after a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WRITTEN_WITHIN):
                while not paths.issubset(self.ledger()):  # noqa: ASYNC110 - another process's file
                    await asyncio.sleep(0.05)

    def _paths(self, text: str) -> list[str]:
        return text.split()

    async def _listens(self) -> None:
        async with asyncio.timeout(_UP_WITHIN):
            while not await self._accepts():
                assert self._process is not None
                code = self._process.poll()
                assert code is None, f"{self._command[0]} ended with {code}: {self._log.read_text()[-2000:]}"
                await asyncio.sleep(0.05)

    async def _accepts(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.transport.abort()
        return True


def unused_port() -> int:
    """A port at which nobody listens, unless somebody takes it meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Nghttpd(OutsideServer):
    """nghttp2's own server, which sends back what it was sent. Its verbose log is the ledger: each answer it gave."""

    _REQUEST = r"\[id=(\d+)\] \[ *[\d.]+\] recv \(stream_id=(\d+)\) :path: (\S+)"
    _ANSWER = (
        r"\[id=(\d+)\] \[ *[\d.]+\] send HEADERS frame <.*stream_id=(\d+)>\n(?: +[;(].*\n)*? +; First response header"
    )
    _EITHER = re.compile(f"{_REQUEST}|{_ANSWER}")

    def __init__(self, folder: Path, identity: Identity, *options: str) -> None:
        port = unused_port()
        words = ["--verbose", "--echo-upload", "--address=127.0.0.1", f"--htdocs={folder}", *options]
        files = [identity.key_file, identity.certificate_file]
        super().__init__([find("nghttpd"), *words, str(port), *files], folder, port, folder / "log.txt")

    def _paths(self, text: str) -> list[str]:
        """The requests that an answer was begun to; connections and streams count from 1 again after a restart."""
        paths: dict[tuple[str, str], str] = {}
        answered = []
        for found in self._EITHER.finditer(text):
            if found[3] is not None:
                paths[found[1], found[2]] = found[3]
            else:
                answered.append(paths[found[4], found[5]])
        return answered


_NGINX = """
load_module /usr/lib/nginx/modules/ngx_http_echo_module.so;
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/log.txt notice;
events {{ worker_connections 1024; }}
http {{
  log_format ledger $request_uri;
  access_log {folder}/ledger.txt ledger if=$taken;
  map $status $taken {{ 200 1; default 0; }}
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  types_hash_max_size 4096;
  server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_certificate {identity.certificate_file};
    ssl_certificate_key {identity.key_file};
    client_max_body_size 64m;
    root {folder}/files;
    {options}
    location / {{ echo -n "answer to $request_uri"; }}
    location /slow/ {{ echo_sleep 0.05; echo -n "answer to $request_uri"; }}
    location /never/ {{ proxy_pass http://127.0.0.1:{silent}; }}
    location /huge/ {{ error_page 405 =200 /huge.bin; return 405; }}
    location = /huge.bin {{ internal; }}
  }}
}}
"""


class Nginx(OutsideServer):
    """One process. `/slow/` answers after 50 ms, `/never/` waits for a backend that is silent, `/huge/` is 16 MiB."""

    def __init__(self, folder: Path, identity: Identity, options: str = "") -> None:
        port = unused_port()
        self._silent = socket.create_server(("127.0.0.1", 0))
        (folder / "files").mkdir()
        (folder / "files" / "huge.bin").write_bytes(bytes(16 << 20))
        silent = self._silent.getsockname()[1]
        text = _NGINX.format(folder=folder, port=port, identity=identity, options=options, silent=silent)
        (folder / "nginx.conf").write_text(text)
        command = [find("nginx"), "-c", folder / "nginx.conf", "-p", folder, "-e", folder / "log.txt"]
        super().__init__(command, folder, port, folder / "ledger.txt")

    def kill(self) -> None:
        super().kill()
        self._silent.close()


class NodeServer(OutsideServer):
    """Node's http2 module with a script of ours, see there for its paths. Its ledger is written before any answer."""

    def __init__(self, folder: Path, identity: Identity, **settings: int) -> None:
        port = unused_port()
        ledger = folder / "ledger.txt"
        words = [f"{name}={value}" for name, value in settings.items()]
        files = [identity.key_file, identity.certificate_file]
        command = [find("node"), _NODE_SCRIPT, str(port), *files, ledger, *words]
        super().__init__(command, folder, port, ledger)
