"""``python -m sandbox --dir D``: serves until SIGTERM or SIGINT, and says on one line of stdout where."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from sandbox.service import Ports, Sandbox

_PR_SET_PDEATHSIG = 1


def main(argv: list[str] | None = None) -> int:
    """Runs the sandbox; returns the exit status: 0 after a signal, 1 if it could not start."""
    options = _parser().parse_args(argv)
    if options.die_with_parent and not _die_with_parent():
        return 1
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            runner.run(_serve(options))
        except (OSError, ValueError) as error:
            print(f"sandbox: {error}", file=sys.stderr)  # noqa: T201 - a command's complaint
            return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="A local FCM, OAuth and APNs.")
    parser.add_argument("--dir", type=Path, required=True, help="where the test credentials are kept (made if missing)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    for name in ("fcm", "apns", "apns-sandbox", "control"):
        parser.add_argument(f"--{name}-port", type=int, default=0, metavar="PORT", help="default: any free port")
    parser.add_argument("--calls", type=Path, metavar="FILE", help="append every push request and its answer to FILE")
    parser.add_argument("--die-with-parent", action="store_true", help="end when the parent process does (Linux)")
    return parser


async def _serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    ports = Ports(options.fcm_port, options.apns_port, options.control_port, options.apns_sandbox_port)
    async with Sandbox.start(options.dir.resolve(), ports, options.host, options.calls) as sandbox:
        print("ready", json.dumps(sandbox.describe()), flush=True)  # noqa: T201 - the line that starters wait for
        await stop.wait()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The loop of uvloop where it is installed: about a third less CPU under TLS."""
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return None
    return uvloop.new_event_loop


def _die_with_parent() -> bool:
    """Asks the kernel for SIGTERM when the thread that started this process ends; False if it is already gone."""
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    return os.getppid() == parent


if __name__ == "__main__":
    sys.exit(main())
