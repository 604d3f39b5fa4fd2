"""The `pharos` command. What a command needs is imported when it runs, so that each starts quickly."""
# ruff: noqa: PLC0415 - that is why the imports stand in the functions

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, NoReturn

import typer

app = typer.Typer(
    name="pharos",
    help="A self-hosted push-notification service.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its tracebacks show local variables, tokens among them
)

# As a shell says of a program that the signal ended.
_INTERRUPTED = 128 + signal.SIGINT
_BROKEN_PIPE = 128 + signal.SIGPIPE
_TERMINATED = 128 + signal.SIGTERM
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

DataDir = Annotated[Path, typer.Option(help="Where everything is kept.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Worker processes; one for each core otherwise.")]
EnvFile = Annotated[
    Path | None,
    typer.Option(help="A dev.env; without it PHAROS_GRPC, PHAROS_ACCOUNT_ID, PHAROS_AUTH_TOKEN or ./data/dev.env."),
]


@app.command()
def up(
    *,
    data_dir: DataDir = Path("data"),
    http_port: Annotated[int, typer.Option(help="REST; 0 is any free port.")] = 8080,
    grpc_port: Annotated[int, typer.Option(help="gRPC; 0 is any free port.")] = 8081,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Deliver to a local FCM and APNs.")] = False,
    workers: Workers = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Logs to DATA_DIR/logs, not to stderr.")] = False,
    die_with_parent: Annotated[bool, typer.Option("--die-with-parent", help="Stop when the caller ends.")] = False,
) -> None:
    """Run database, server, workers and gateway in one go."""
    from client.processes import die_with_parent as follow_parent
    from client.up import UpOptions, run
    from client.workers import cores

    if die_with_parent and not follow_parent():
        raise typer.Exit(1)
    raise typer.Exit(run(UpOptions(data_dir, http_port, grpc_port, sandbox, workers or cores(), quiet)))


@app.command()
def send(
    *,
    to: Annotated[list[str] | None, typer.Option(help="user:ID, fcm:TOKEN or apn:TOKEN; repeatable.")] = None,
    to_file: Annotated[Path | None, typer.Option(help="Recipients, one JSON object a line.")] = None,
    title: Annotated[str | None, typer.Option(help="A Liquid template.")] = None,
    body: Annotated[str | None, typer.Option(help="A Liquid template.")] = None,
    app_name: Annotated[str | None, typer.Option("--app", help="The app; the default app otherwise.")] = None,
    data: Annotated[list[str] | None, typer.Option(help="KEY=VALUE for the app; repeatable.")] = None,
    watch_it: Annotated[bool, typer.Option("--watch", help="Follow the delivery.")] = False,
    env_file: EnvFile = None,
) -> None:
    """Send a push notification."""
    from client.commands import SendOptions, send_once

    options = SendOptions(to or [], to_file, title, body, app_name, data or [], watch_it)
    _run(send_once(options, env_file))


@app.command()
def watch(
    operation_id: Annotated[str | None, typer.Argument(help="The operation.")] = None,
    *,
    notification: Annotated[list[str] | None, typer.Option(help="A push notification; repeatable.")] = None,
    user: Annotated[str | None, typer.Option(help="What is sent to this user.")] = None,
    app_name: Annotated[str | None, typer.Option("--app", help="What is sent under this app.")] = None,
    account: Annotated[bool, typer.Option("--account", help="All operations of the account.")] = False,
    status: Annotated[list[str] | None, typer.Option(help="Only recipients that come to it; repeatable.")] = None,
    provider: Annotated[list[str] | None, typer.Option(help="Only devices of FCM or APN.")] = None,
    reason: Annotated[list[str] | None, typer.Option(help="Only what failed for it; repeatable.")] = None,
    snapshot: Annotated[bool, typer.Option(help="Begin with what is known, or with what changes from now on.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object for each message of the stream.")] = False,
    resume_token: Annotated[
        str, typer.Option(help="Go on behind the line of --json that had this resumeToken; no snapshot then.")
    ] = "",
    exit_status: Annotated[
        bool, typer.Option("--exit-status", help="Exit with 3 when the operation ends and not all were sent.")
    ] = False,
    env_file: EnvFile = None,
) -> None:
    """Follow the delivery of an operation or of push notifications to the end, or of a user, an app or the account.

    Goes on by itself when the connection is lost. Without a filter an operation is a bar and an account's or app's
    operations are a table; all else is a line for each recipient.

    Exits with 0 at the end, 1 when the stream can't go on, 2 for a wrong command line, 3 see --exit-status, 130 when
    interrupted, 143 when terminated, 141 when nobody reads its output any more.
    """
    from client import commands
    from client.watch_options import WatchOptions

    scope = (operation_id, notification or (), user, app_name, account)
    filters = (status or (), provider or (), reason or (), snapshot)
    options = WatchOptions(*scope, *filters, as_json, resume_token, exit_status)
    _run(commands.watch(options, env_file))


@app.command()
def demo(
    *,
    recipients: Annotated[int, typer.Option(min=100, max=10_000, help="How many get the message.")] = 10_000,
) -> None:
    """Start everything with the sandbox, send one message to 10,000 recipients, and check each."""
    from client.demo import run

    raise typer.Exit(run(recipients))


@app.command(context_settings=_PASS_ON)
def work(
    context: typer.Context,
    *,
    workers: Workers = None,
    name: Annotated[str | None, typer.Option(help="How logs call them.")] = None,
    die_with_parent: Annotated[bool, typer.Option("--die-with-parent", help="Stop when the caller ends.")] = False,
) -> None:
    """Run delivery workers; other options are those of `python -m server work`."""
    from client.processes import die_with_parent as follow_parent
    from client.workers import WorkOptions, cores, run

    if die_with_parent and not follow_parent():
        raise typer.Exit(1)
    raise typer.Exit(run(WorkOptions(workers or cores(), name, context.args)))


@app.command(context_settings=_PASS_ON)
def bench(context: typer.Context) -> None:
    """Measure what a push costs on this machine; needs a checkout of the project."""
    root = Path(__file__).resolve().parents[1]
    if not (root / "tests" / "benchmarks" / "__main__.py").is_file():
        _fail(f"{root} is no checkout of the project, and the benchmarks are not installed with it: clone it", 1)
    os.chdir(root)
    _become("tests.benchmarks", *context.args)


def _pass_on(name: str, module: str, help_text: str, *words: str) -> None:
    """A command that becomes `python -m module words...` with the rest of the command line."""

    @app.command(name, help=help_text, context_settings=_PASS_ON)
    def become(context: typer.Context) -> None:
        _become(module, *words, *context.args)


def _become(module: str, *arguments: str) -> NoReturn:
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - our own interpreter, no shell


_pass_on("serve", "server", "Run the gRPC server.", "serve")
_pass_on("migrate", "server", "Bring the database up to date.", "migrate")
_pass_on("database", "server", "Run the embedded PostgreSQL.", "database")
_pass_on("accounts", "server", "Manage accounts: `pharos accounts create`.", "accounts")
_pass_on("gateway", "gateway", "Run the REST gateway.")
_pass_on("sandbox", "sandbox", "Run the local FCM and APNs.")


def _run(work: Coroutine[None, None, int]) -> NoReturn:
    """Runs a command and exits with its code; what went wrong is told in words, not in a traceback."""
    from client.connection import NoConnectionError
    from client.errors import PushError, UsageError
    from client.recipients import RecipientError

    try:
        raise typer.Exit(asyncio.run(_until_terminated(work)))
    except BrokenPipeError:
        _leave_stdout()
        raise typer.Exit(_BROKEN_PIPE) from None
    except (UsageError, NoConnectionError, RecipientError) as error:
        _fail(str(error), 2)
    except (PushError, OSError) as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    except asyncio.CancelledError:
        raise typer.Exit(_TERMINATED) from None


async def _until_terminated(work: Coroutine[None, None, int]) -> int:
    """SIGTERM ends it like an interrupt, so that a terminal gets its cursor back."""
    working = asyncio.current_task()
    assert working is not None, "runs in a task"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
    return await work


def _leave_stdout() -> None:
    """Nobody reads it: else the interpreter would complain about that at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"pharos: {message}", err=True)
    raise typer.Exit(code)


def main() -> None:
    """The entry point of the `pharos` command."""
    app()


if __name__ == "__main__":
    main()
