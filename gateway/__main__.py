"""`python -m gateway`: the REST gateway as a process."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import os
import signal
import sys
from urllib.parse import urlsplit

import uvloop

from gateway.app import Gateway, open_channel
from gateway.cors import parse_origins
from gateway.logs import log_to_stderr
from gateway.serving import Server, listen
from gateway.settings import DEFAULT_UPLOAD_TIMEOUT, Settings

_PR_SET_PDEATHSIG = 1
_LONGEST_SECONDS = 86_400
_CORS_PATHS = ("events", "all")


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM. Prints `ready {"url": ...}` on stdout when it listens."""
    options = _parse(argv)
    log_to_stderr()
    if options.die_with_parent and not _die_with_parent():
        return 1
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(options))
    return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m gateway", description="Pharos' REST API, in front of its gRPC API."
    )
    grpc = os.environ.get("PHAROS_GRPC")
    parser.add_argument(
        "--grpc", default=grpc, required=not grpc, metavar="HOST:PORT", help="the service (PHAROS_GRPC)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument(
        "--public-url",
        type=_public_url,
        default=os.environ.get("PHAROS_PUBLIC_URL", ""),
        metavar="URL",
        help="what URLs in answers begin with (PHAROS_PUBLIC_URL); the request's own scheme and host when absent",
    )
    parser.add_argument(
        "--upload-timeout",
        type=_seconds,
        default=os.environ.get("PHAROS_UPLOAD_TIMEOUT_SECONDS") or str(DEFAULT_UPLOAD_TIMEOUT),
        metavar="SECONDS",
        help="how long a request's body may take to arrive (PHAROS_UPLOAD_TIMEOUT_SECONDS); 60 when absent",
    )
    parser.add_argument(
        "--cors-origins",
        type=_origins,
        default=os.environ.get("PHAROS_CORS_ORIGINS", ""),
        metavar="ORIGIN,...",
        help="pages that may read event streams and ask for stream tokens from a browser (PHAROS_CORS_ORIGINS); "
        "* is every page, none when absent",
    )
    parser.add_argument(
        "--cors-paths",
        choices=_CORS_PATHS,
        default=os.environ.get("PHAROS_CORS_PATHS") or _CORS_PATHS[0],
        help="what they may call (PHAROS_CORS_PATHS): event streams and stream tokens, or the whole API",
    )
    parser.add_argument("--die-with-parent", action="store_true", help="stop when the parent process ends (Linux)")
    options = parser.parse_args(argv)
    if options.cors_paths not in _CORS_PATHS:  # argparse does not check a default
        parser.error(f"PHAROS_CORS_PATHS must be {' or '.join(_CORS_PATHS)}")
    return options


def _public_url(text: str) -> str:
    parts = urlsplit(text)
    if text and (parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment):
        raise argparse.ArgumentTypeError("expected an http or https URL")
    return text.rstrip("/")


def _origins(text: str) -> tuple[str, ...]:
    try:
        return parse_origins(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= _LONGEST_SECONDS:
        raise argparse.ArgumentTypeError(f"expected a number of seconds up to {_LONGEST_SECONDS}")
    return seconds


def _die_with_parent() -> bool:
    """Ask the kernel for a SIGTERM when the thread that started this process ends; False if it has already."""
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    return os.getppid() == parent


async def _serve(options: argparse.Namespace) -> None:
    listening = listen(options.host, options.port)
    host, port = listening.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    async with open_channel(options.grpc) as channel:
        settings = Settings(
            public_url=options.public_url,
            upload_timeout=options.upload_timeout,
            cors_origins=options.cors_origins,
            cors_everywhere=options.cors_paths == "all",
        )
        gateway = Gateway(channel, settings)
        await Server(gateway, listening, lambda: _say_ready(url)).serve_until_stopped()


def _say_ready(url: str) -> None:
    sys.stdout.write(f"ready {json.dumps({'url': url})}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
