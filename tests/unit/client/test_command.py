from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from pharos.push.v1.delivery_status_pb2 import (
    DevicesRemoved,
    RecipientStatus,
    StatusChanges,
    StatusEnd,
    StatusSnapshot,
    WatchDeliveryStatusRequest,
    WatchDeliveryStatusResponse,
)
from pharos.push.v1.operations_pb2 import Operation, OperationStats, OperationStatus
from pharos.push.v1.push_notifications_pb2 import SendPushNotificationResponse
from pharos.push.v1.types_pb2 import DeliveryReason, DeliveryStatus, Provider
from typer.testing import CliRunner

from client.__main__ import app
from client.dev_env import write_env_file

OPERATION_ID = "comms_operation_01h455vb4pex5vsknk084sn02q"
WITHIN = 60.0


@pytest.fixture
def env_file(service: Any, tmp_path: Path) -> Path:
    path = tmp_path / "dev.env"
    address = f"http://127.0.0.1:{service.port}"
    write_env_file(path, {"PHAROS_GRPC": address, "PHAROS_ACCOUNT_ID": "account", "PHAROS_AUTH_TOKEN": "secret"})
    return path


async def pharos(*arguments: str) -> tuple[int | None, str, str]:
    """Exit code, stdout and stderr of the command, run as users run it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "client", *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    async with asyncio.timeout(WITHIN):
        said, complained = await process.communicate()
    return process.returncode, said.decode(), complained.decode()


def _shown(terminal: int, last: bytes) -> bytes:
    """What a terminal is sent up to `last`, or all until nobody has it open any more."""
    shown = b""
    while not last or last not in shown:
        try:
            read = os.read(terminal, 65_536)
        except OSError:  # EIO, at its end
            return shown
        shown += read
    return shown


def a_delivery() -> list[WatchDeliveryStatusResponse]:
    processing = Operation(id=OPERATION_ID, stats=OperationStats(recipients=2))
    done = Operation(id=OPERATION_ID, status=OperationStatus.OPERATION_STATUS_COMPLETED)
    done.stats.recipients = 2
    recipients = [
        RecipientStatus(recipient_index=0, status=DeliveryStatus.DELIVERY_STATUS_SENT),
        RecipientStatus(
            recipient_index=1,
            status=DeliveryStatus.DELIVERY_STATUS_FAILED,
            reason=DeliveryReason.DELIVERY_REASON_UNREGISTERED,
        ),
    ]
    return [
        WatchDeliveryStatusResponse(snapshot=StatusSnapshot(operation=processing), resume_token="a"),
        WatchDeliveryStatusResponse(changes=StatusChanges(recipients=recipients), resume_token="b"),
        WatchDeliveryStatusResponse(end=StatusEnd(operation=done), resume_token="c"),
    ]


async def test_send_sends_what_the_options_say_and_follows_it(service: Any, env_file: Path, tmp_path: Path) -> None:
    service.answers.append(SendPushNotificationResponse(operation_id=OPERATION_ID))
    service.streams.append(a_delivery())
    more = tmp_path / "more.jsonl"
    more.write_text('{"provider": "APN", "token": "00ff", "variables": {"name": "Ada"}}\n')

    code, said, complained = await pharos(
        *(
            "send",
            "--to",
            "user:u1",
            "--to",
            "fcm:t1",
            "--to-file",
            str(more),
            "--title",
            "Hi",
            "--body",
            "B {{ name }}",
        ),
        *("--app", "shop", "--data", "k=v=w", "--watch", "--env-file", str(env_file)),
    )

    assert (code, complained) == (0, "")
    request = service.requests[0]
    assert [to.user_id or to.token for to in request.to] == ["u1", "t1", "00ff"]
    assert request.to[2].provider == Provider.PROVIDER_APN
    assert (request.content.title, request.content.body) == ("Hi", "B {{ name }}")
    assert request.sender.app_name == "shop"
    assert dict(request.data) == {"k": "v=w"}
    assert said.splitlines() == [
        OPERATION_ID,
        "delivering 0/2",
        "delivering 2/2 SENT 1  FAILED 1",
        f"{OPERATION_ID} COMPLETED: SENT 1  FAILED 1",
        "reasons: UNREGISTERED 1",
    ]


async def test_watch_shows_an_operation_to_its_end(service: Any, env_file: Path) -> None:
    service.streams.append(a_delivery())

    code, said, _ = await pharos("watch", OPERATION_ID, "--env-file", str(env_file))

    assert code == 0
    assert said.splitlines()[-1] == "reasons: UNREGISTERED 1"
    assert service.requests[0].operation_id == OPERATION_ID


async def test_watch_goes_on_after_the_connection_was_lost_and_says_so(service: Any, env_file: Path) -> None:
    first, *rest = a_delivery()
    service.streams.extend([[first, service.refuse(grpc.StatusCode.UNAVAILABLE, "restarting")], rest])

    code, said, complained = await pharos("watch", OPERATION_ID, "--env-file", str(env_file))

    assert code == 0
    assert said.splitlines()[-2] == f"{OPERATION_ID} COMPLETED: SENT 1  FAILED 1"
    assert complained == "pharos: the stream was lost, going on: UNAVAILABLE: restarting\n"
    assert [request.resume_token for request in service.requests] == ["", "a"]


async def test_watch_has_a_json_object_for_each_message(service: Any, env_file: Path) -> None:
    service.streams.append(a_delivery())

    code, said, _ = await pharos(
        "watch", OPERATION_ID, "--json", "--resume-token", "before", "--env-file", str(env_file)
    )

    lines = [json.loads(line) for line in said.splitlines()]
    assert code == 0
    assert [(line["event"], line["resumeToken"]) for line in lines] == [
        ("snapshot", "a"),
        ("changes", "b"),
        ("end", "c"),
    ]
    assert [recipient["status"] for recipient in lines[1]["data"]["recipients"]] == ["SENT", "FAILED"]
    assert lines[2]["data"]["operation"]["status"] == "COMPLETED"
    assert service.requests[0].resume_token == "before"


@pytest.mark.parametrize(("sent", "expected"), [(1, 3), (2, 0)])
async def test_the_exit_status_says_whether_all_were_sent(
    service: Any, env_file: Path, sent: int, expected: int
) -> None:
    *_, end = a_delivery()
    end.end.operation.stats.sent = sent
    service.streams.append([end])

    code, _, _ = await pharos("watch", OPERATION_ID, "--exit-status", "--env-file", str(env_file))

    assert code == expected


async def test_who_reads_no_more_ends_the_watch_without_a_complaint(service: Any, env_file: Path) -> None:
    first, *rest = a_delivery()
    service.streams.append([first, *rest * 2_000])
    command = f'"{sys.executable}" -m client watch {OPERATION_ID} --json --env-file "{env_file}"'

    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", f"{command} | head -1 >/dev/null; echo ${{PIPESTATUS[0]}}"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(WITHIN):
        said, complained = await process.communicate()

    assert (said, complained) == (b"141\n", b"")


@pytest.mark.parametrize(
    ("options", "scope"),
    [
        ([OPERATION_ID], {"operation_id": OPERATION_ID}),
        (["--notification", "n1", "--notification", "n2"], {"push_notification_ids": ["n1", "n2"]}),
        (["--user", "u"], {"user_id": "u"}),
        (["--app", "shop"], {"app_name": "shop"}),
        (["--account"], {}),
    ],
)
async def test_a_watch_has_the_scopes_and_the_filters_of_the_stream(
    service: Any, env_file: Path, options: list[str], scope: dict[str, Any]
) -> None:
    [*_, end] = a_delivery()
    service.streams.append([end])
    filters = [
        "--status",
        "sent",
        "--status",
        "FAILED",
        "--provider",
        "FCM",
        "--reason",
        "UNREGISTERED",
        "--no-snapshot",
    ]

    code, _, complained = await pharos("watch", *options, *filters, "--env-file", str(env_file))

    assert (code, complained) == (0, "")
    assert service.requests == [
        WatchDeliveryStatusRequest(
            statuses=[DeliveryStatus.DELIVERY_STATUS_SENT, DeliveryStatus.DELIVERY_STATUS_FAILED],
            providers=[Provider.PROVIDER_FCM],
            reasons=[DeliveryReason.DELIVERY_REASON_UNREGISTERED],
            snapshot=False,
            **scope,
        )
    ]


async def test_a_watch_of_one_user_has_a_line_for_each_push(service: Any, env_file: Path) -> None:
    sent = RecipientStatus(push_notification_id="n1", status=DeliveryStatus.DELIVERY_STATUS_SENT)
    sent.to.user_id = "u"
    changes = StatusChanges(recipients=[sent], devices_removed=[DevicesRemoved(operation_id="o", app_name="shop")])
    service.streams.append(
        [
            WatchDeliveryStatusResponse(changes=changes, resume_token="a"),
            service.refuse(grpc.StatusCode.UNAUTHENTICATED, "token withdrawn"),
        ]
    )

    code, said, complained = await pharos("watch", "--user", "u", "--env-file", str(env_file))

    assert said.splitlines() == ["n1 SENT u", "o removed dead devices from app shop: 0"]
    assert (code, complained) == (1, "pharos: UNAUTHENTICATED: token withdrawn\n")


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_watch_that_is_stopped_gives_the_terminal_its_cursor_back(
    service: Any, env_file: Path, number: signal.Signals, expected: int
) -> None:
    service.streams.append([a_delivery()[0], service.silence()])
    terminal, its_end = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "client", "watch", OPERATION_ID, "--env-file", str(env_file)),
        stdout=its_end,
        stderr=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(its_end)

    async with asyncio.timeout(WITHIN):
        before = await asyncio.to_thread(_shown, terminal, b"delivering")
        process.send_signal(number)
        after = await asyncio.to_thread(_shown, terminal, b"")
        _, complained = await process.communicate()
    os.close(terminal)

    assert (process.returncode, complained) == (expected, b"")
    assert b"\x1b[?25l" in before
    assert after.rstrip().endswith(b"\x1b[?25h")


async def test_an_interrupted_watch_has_told_each_line_by_then(service: Any, env_file: Path) -> None:
    service.streams.append([a_delivery()[0], service.silence()])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "client", "watch", OPERATION_ID, "--json", "--env-file", str(env_file)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None

    async with asyncio.timeout(WITHIN):
        told = json.loads(await process.stdout.readline())
        process.send_signal(signal.SIGINT)
        said, complained = await process.communicate()

    assert told["resumeToken"] == "a"
    assert (process.returncode, said, complained) == (130, b"", b"")


async def test_watch_of_the_account_has_a_line_for_each_change(service: Any, env_file: Path) -> None:
    operation = Operation(id=OPERATION_ID, status=OperationStatus.OPERATION_STATUS_PROCESSING)
    operation.stats.recipients, operation.stats.sent, operation.stats.queued = 3, 1, 2
    changes = WatchDeliveryStatusResponse(changes=StatusChanges(operations=[operation]), resume_token="a")
    service.streams.append([changes, service.refuse(grpc.StatusCode.UNAUTHENTICATED, "token withdrawn")])

    code, said, complained = await pharos("watch", "--account", "--env-file", str(env_file))

    assert said == f"{OPERATION_ID} PROCESSING  recipients 3  sent 1  queued 2\n"
    assert (code, complained) == (1, "pharos: UNAUTHENTICATED: token withdrawn\n")


async def test_a_refusal_is_told_in_words(service: Any, env_file: Path) -> None:
    service.answers.append(service.refuse(grpc.StatusCode.INVALID_ARGUMENT, "content is missing"))

    code, said, complained = await pharos("send", "--to", "fcm:t", "--env-file", str(env_file))

    assert (code, said, complained) == (1, "", "pharos: INVALID_ARGUMENT: content is missing\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["send"], "no recipients"),
        (["send", "--to", "sms:1"], "'sms:1' is none of user:ID, fcm:TOKEN, apn:TOKEN"),
        (["send", "--to", "fcm:t", "--data", "novalue"], "'novalue' is not KEY=VALUE"),
        (["send", "--to", "fcm:t"], "PHAROS_GRPC, PHAROS_ACCOUNT_ID, PHAROS_AUTH_TOKEN not set"),
        (["watch"], "give either an operation, --notification, --user, --app or --account"),
        (["watch", OPERATION_ID, "--account"], "give either an operation, --notification"),
        (["watch", "--user", "u", "--notification", "n"], "give either an operation, --notification"),
        (["watch", "--account", "--exit-status"], "--exit-status goes with an operation"),
        (["watch", "--account", "--resume-token", "t"], "--resume-token goes with --json"),
        (["watch", "--account", "--status", "GONE"], "--status 'GONE' is none of SCHEDULED, QUEUED, SENT, FAILED"),
        (["watch", "--account", "--provider", "SMS"], "--provider 'SMS' is none of FCM, APN"),
        (["watch", "--account", "--reason", "UNSPECIFIED"], "--reason 'UNSPECIFIED' is none of UNREGISTERED"),
        (["up", "--workers", "0"], "--workers"),
        (["work", "--workers", "0"], "--workers"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(
    arguments: list[str], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("PHAROS_GRPC", "PHAROS_ACCOUNT_ID", "PHAROS_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 2
    assert complaint in result.output


@pytest.mark.parametrize(
    ("arguments", "became"),
    [
        (["serve", "--port", "1", "--help"], ["server", "serve", "--port", "1", "--help"]),
        (["migrate"], ["server", "migrate"]),
        (["database", "--data-dir", "d"], ["server", "database", "--data-dir", "d"]),
        (["accounts", "create", "--name", "n"], ["server", "accounts", "create", "--name", "n"]),
        (["gateway", "--grpc", "h:1"], ["gateway", "--grpc", "h:1"]),
        (["sandbox", "--dir", "d"], ["sandbox", "--dir", "d"]),
    ],
)
def test_the_programs_commands_become_the_programs(
    arguments: list[str], became: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(os, "execv", lambda *command: seen.append(command))

    CliRunner().invoke(app, arguments)

    assert seen == [(sys.executable, [sys.executable, "-m", *became])]


def test_bench_becomes_the_benchmarks_of_the_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(os, "execv", lambda *command: seen.append((Path.cwd(), command)))
    monkeypatch.chdir(tmp_path)  # and back, once the test is over

    CliRunner().invoke(app, ["bench", "accept", "--quick", "--help"])

    root = Path(__file__).parents[3]
    program = [sys.executable, "-m", "tests.benchmarks", "accept", "--quick", "--help"]
    assert seen == [(root, (sys.executable, program))]


def test_bench_says_that_it_needs_a_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("client.__main__.__file__", str(tmp_path / "client" / "__main__.py"))
    result = CliRunner().invoke(app, ["bench"])
    assert result.exit_code == 1
    assert f"{tmp_path} is no checkout of the project" in result.stderr


def test_help_needs_neither_grpc_nor_rich_progress() -> None:
    program = (
        "import sys, json, client.__main__ as m\n"
        "try: m.app(['send', '--help'])\n"
        "except SystemExit: pass\n"
        "print(json.dumps([name for name in ('grpc', 'httpx', 'rich.progress') if name in sys.modules]))"
    )

    said = subprocess.run(  # noqa: S603 - a program of this test
        [sys.executable, "-c", program], check=True, capture_output=True, timeout=WITHIN
    ).stdout

    assert json.loads(said.splitlines()[-1]) == []
