"""nginx as FCM, its token endpoint and APNs, and as the count of what arrived.

nginx answers far faster than anything in Python could, so that it is the clients that are measured. It can't read
JSON: to it a message is malformed when its length can't be that of one, or when the device token in its path is none.
Whether a client's pushes are right in every detail is asked of the sandbox, in `judging`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sandbox import identity
from sandbox.identity import PROJECT_ID, Identity
from tests.benchmarks import programs

FCM_PATH = f"/v1/projects/{PROJECT_ID}/messages:send"
LONGEST_TOKEN = 3_000  # characters; to this target a message with so long a token is malformed
_COUNT_POLL = 0.02
_BEARER = "ya29." + "c" * 200

# Lines of the logs have one length, so that a file's size is a count: status, and the time when the request ended.
_FCM_LINE = len("200 1800000000.000\n")
_APNS_LINE = _FCM_LINE + len(" /3/device/") + 64

_CONFIG = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 100000000;
  keepalive_timeout 600s;
  ssl_certificate {certificate};
  ssl_certificate_key {key};
  log_format fcm '$status $msec';
  log_format apns '$status $msec $uri';
  # A message of less than 100 bytes lacks something, one of 3,000 and more has too long a token.
  map $content_length $malformed {{ default 0; "" 1; ~^\\d\\d?$ 1; ~^[3-9]\\d\\d\\d$ 1; ~^\\d\\d\\d\\d\\d+$ 1; }}
  server {{
    listen 127.0.0.1:{fcm_port} ssl http2;
    http2_max_concurrent_streams {fcm_streams};
    default_type application/json;
    location = /token {{
      return 200 '{{"access_token":"{bearer}","expires_in":3599,"token_type":"Bearer"}}';
    }}
    location = {fcm_path} {{
      access_log {folder}/fcm.log fcm;
      if ($http_authorization !~ "^Bearer .") {{ return 401; }}
      if ($malformed) {{ return 400 '{refusal}'; }}
      return 200 '{{"name":"projects/{project}/messages/0:$msec%$request_id"}}';
    }}
  }}
  server {{
    listen 127.0.0.1:{apns_port} ssl http2;
    http2_max_concurrent_streams 1000;
    default_type application/json;
    add_header apns-id $http_apns_id always;
    access_log {folder}/apns.log apns;
    location ~ "^/3/device/[0-9a-f]{{64}}$" {{ return 200; }}
    location /3/device/ {{ return 400 '{{"reason":"BadDeviceToken"}}'; }}
  }}
}}
"""
_REFUSAL = (
    '{"error":{"code":400,"message":"The registration token is not a valid FCM registration token",'
    '"status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError",'
    '"errorCode":"INVALID_ARGUMENT"},{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":'
    '[{"field":"message.token","description":"The registration token is not a valid FCM registration token"}]}]}}'
)


class Mark(NamedTuple):
    """How long both logs were at some moment."""

    fcm: int
    apns: int


class Count(NamedTuple):
    """Pushes that the target answered with 200, and with anything else."""

    accepted: int
    refused: int

    def __add__(self, other: object) -> Count:
        assert isinstance(other, Count)
        return Count(self.accepted + other.accepted, self.refused + other.refused)


@dataclass(frozen=True)
class Target:
    """A running nginx. ``credentials`` are the sandbox's: its CA signed the certificate."""

    pid: int
    folder: Path
    credentials: Identity
    fcm_url: str
    apns_url: str

    @property
    def environment(self) -> dict[str, str]:
        """Points Pharos at it."""
        return {
            "PHAROS_FCM_URL": self.fcm_url,
            "PHAROS_OAUTH_URL": f"{self.fcm_url}/token",
            "PHAROS_APNS_URL": self.apns_url,
            "PHAROS_APNS_SANDBOX_URL": self.apns_url,
            "PHAROS_PROVIDER_CA": str(self.credentials.ca_file),
        }

    def mark(self) -> Mark:
        return Mark(*((self.folder / name).stat().st_size for name in ("fcm.log", "apns.log")))

    def pushes_since(self, mark: Mark) -> int:
        """How many came, well-formed or not, give or take the malformed ones' length."""
        now = self.mark()
        return (now.fcm - mark.fcm) // _FCM_LINE + (now.apns - mark.apns) // _APNS_LINE

    def counted_since(self, mark: Mark) -> Count:
        """What it answered, by reading its logs."""
        return _counted(self.folder / "fcm.log", mark.fcm) + _counted(self.folder / "apns.log", mark.apns)

    def arrivals_since(self, mark: Mark) -> dict[str, float]:
        """When each APNs device's push came (Unix time, in ms steps), by the token in its path."""
        lines = _lines(self.folder / "apns.log", mark.apns)
        return {line.rpartition("/")[2]: float(line.split()[1]) for line in lines}

    async def has_pushes(self, mark: Mark, pushes: int, within: float) -> None:
        """Wait for so many. Raises TimeoutError."""
        async with asyncio.timeout(within):
            while self.pushes_since(mark) < pushes:  # noqa: ASYNC110 - a file's growth has no signal to wait for
                await asyncio.sleep(_COUNT_POLL)


@asynccontextmanager
async def running(folder: Path, fcm_streams: int) -> AsyncIterator[Target]:
    """nginx while this lasts. ``fcm_streams``: its limit of concurrent streams as FCM. Raises NotMeasuredError."""
    program = programs.find("nginx")
    _make(folder)
    credentials = identity.open_identity(folder / "identity")
    fcm_port, apns_port = programs.free_port(), programs.free_port()
    certificate, key = credentials.server_files
    config = _CONFIG.format(
        folder=folder,
        certificate=certificate,
        key=key,
        fcm_port=fcm_port,
        apns_port=apns_port,
        fcm_streams=fcm_streams,
        fcm_path=FCM_PATH,
        project=PROJECT_ID,
        bearer=_BEARER,
        refusal=_REFUSAL,
    )
    (folder / "nginx.conf").write_text(config)
    arguments = ("-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf"))
    fcm_url, apns_url = f"https://localhost:{fcm_port}", f"https://localhost:{apns_port}"
    credentials.point_service_account_at(f"{fcm_url}/token")
    async with programs.serving("nginx", apns_port, program, *arguments) as pid:
        yield Target(pid, folder, credentials, fcm_url, apns_url)


def _make(folder: Path) -> None:
    folder.mkdir(mode=0o700)


def _counted(log: Path, offset: int) -> Count:
    lines = _lines(log, offset)
    accepted = sum(line.startswith("200 ") for line in lines)
    return Count(accepted, len(lines) - accepted)


def _lines(log: Path, offset: int) -> list[str]:
    with log.open(encoding="ascii", errors="replace") as file:
        file.seek(offset)
        return file.read().splitlines()
