"""``python -m server``: the service's processes, one command each."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import structlog

from server import lifecycle, logs
from server.config import BadSetting, Config

Command = Callable[[Config, argparse.Namespace], Coroutine[Any, Any, None]]


async def _serve(config: Config, options: argparse.Namespace) -> None:
    from server import app

    await app.serve(config, f"{options.host}:{options.port}")


async def _work(config: Config, options: argparse.Namespace) -> None:
    from server import app

    await app.work(config, options.name)


async def _database(config: Config, options: argparse.Namespace) -> None:
    from server import app

    await app.run_database(config)


async def _migrate(config: Config, options: argparse.Namespace) -> None:
    from server import app

    for name in await app.migrate(config):
        print(f"applied {name}")


async def _create_account(config: Config, options: argparse.Namespace) -> None:
    from server import app

    print(json.dumps(await app.create_account(config, options.name)))


def main(argv: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Run one command and return the process's exit status: 0, 1 for what went wrong, 2 for wrong usage."""
    options = _parser().parse_args(argv)
    if options.die_with_parent:
        lifecycle.die_with_parent()
    variables = dict(os.environ if environment is None else environment)
    if options.data_dir:
        variables["PHAROS_DATA_DIR"] = options.data_dir
    logs.configure(variables.get("PHAROS_LOG_LEVEL", "INFO"))
    try:
        _run(options.command(Config.read(variables), options))
    except BadSetting as error:
        return _fail(str(error))
    except Exception as error:  # noqa: BLE001 # what is known is said in a line, the rest is logged
        known = _known(error)
        if known is None:
            structlog.get_logger("server").exception("the process failed")
        return _fail(known or "internal error")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m server", description="The Pharos push service.")
    commands = parser.add_subparsers(required=True, metavar="command")
    serve = _add(commands, "serve", _serve, "run the gRPC API")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=0, help="0: any free one")
    work = _add(commands, "work", _work, "run a worker, which sends what was accepted")
    work.add_argument("--name", default=f"{platform.node()}:{os.getpid()}", help="how logs call it")
    _add(commands, "database", _database, "run the embedded PostgreSQL")
    _add(commands, "migrate", _migrate, "bring the database's schema up to date")
    accounts = commands.add_parser("accounts", help="manage accounts").add_subparsers(required=True, metavar="command")
    create = _add(accounts, "create", _create_account, "make an account; prints its id and token as JSON")
    create.add_argument("--name", default="default")
    return parser


def _add(commands: Any, name: str, command: Command, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("--data-dir", help="the folder of the embedded database and the seal key (PHAROS_DATA_DIR)")
    parser.add_argument("--die-with-parent", action="store_true", help="stop when the parent process ends")
    parser.set_defaults(command=command)
    return parser


def _run(command: Coroutine[Any, Any, None]) -> None:
    # What is under way lives long, and little of it is in cycles: looking for them less often saves a worker a seventh.
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    try:
        import uvloop
    except ImportError:
        asyncio.run(command)
    else:
        uvloop.run(command)


def _known(error: Exception) -> str | None:
    from server.domain.errors import DomainError
    from server.localpg import LocalPostgresError
    from server.providers.sealing import SealKeyError
    from server.store.migrations import SchemaMismatch

    if isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        return _known(error.exceptions[0])
    if isinstance(error, DomainError | LocalPostgresError | SealKeyError | SchemaMismatch):
        return str(error)
    return None


def _fail(text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
