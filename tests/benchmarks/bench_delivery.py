"""CPU time of a whole send, process by process: accept, claim, render, send, record, stream, against the sandbox.

Run: python tests/benchmarks/bench_delivery.py [RECIPIENTS]   (default 3,000; Linux, reads /proc)
CPU seconds are what counts: the wall time depends on what else the machine does.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from pharos.push.v1 import credentials_pb2, push_notifications_pb2, types_pb2

from client.connection import Connection
from client.dev_env import read_env_file
from client.push_client import PushClient

_TICKS = os.sysconf("SC_CLK_TCK")


async def main(recipients: int) -> None:
    """Send once and print what each process spent on it."""
    with tempfile.TemporaryDirectory(prefix="pharos-bench-") as folder:
        up = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "client", "up", "--sandbox", "--quiet", "--data-dir", folder),
            *("--http-port", "0", "--grpc-port", "0", "--die-with-parent"),
            stdout=asyncio.subprocess.PIPE,
        )
        assert up.stdout is not None
        try:
            async with asyncio.timeout(60):
                await up.stdout.readline()
            await _measure(up.pid, read_env_file(Path(folder) / "dev.env"), recipients)
        finally:
            up.terminate()
            await up.wait()


async def _measure(root: int, variables: dict[str, str], recipients: int) -> None:
    async with PushClient.connect(Connection.of(variables)) as client:
        await client.create_credential(_credential(variables))
        before, began = _cpu(root), time.monotonic()
        operation = await client.send(_request(recipients))
        accepted = time.monotonic() - began
        async for _ in client.watch(operation_id=operation.operation_id):
            pass
        wall = time.monotonic() - began
        spent = _cpu(root) - before
    print(f"{recipients:,} recipients, one FCM credential; accepted in {accepted:.2f} s, all final in {wall:.1f} s")
    print(f"{'process':<12}{'CPU s':>8}{'per 10,000':>12}{'share':>8}")
    for name, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"{name:<12}{seconds:>8.2f}{seconds / recipients * 10_000:>12.2f}{seconds / spent.total():>8.0%}")


def _credential(variables: dict[str, str]) -> credentials_pb2.CreateCredentialRequest:
    key = base64.b64encode(Path(variables["PHAROS_SANDBOX_FCM_KEY"]).read_bytes()).decode()
    return credentials_pb2.CreateCredentialRequest(
        credential_type=credentials_pb2.CREDENTIAL_TYPE_FCM,
        content=credentials_pb2.CredentialContent(private_key=key),
    )


def _request(recipients: int) -> push_notifications_pb2.SendPushNotificationRequest:
    return push_notifications_pb2.SendPushNotificationRequest(
        content=push_notifications_pb2.Content(title="Hi {{ name }}", body="Order {{ order }} is on its way."),
        to=[
            types_pb2.Recipient(
                token=f"live-{number:05d}-{'x' * 140}",
                provider=types_pb2.PROVIDER_FCM,
                variables_json=json.dumps({"name": f"Ada {number}", "order": f"A-{number:05d}"}).encode(),
            )
            for number in range(recipients)
        ],
    )


def _cpu(root: int) -> Counter[str]:
    """CPU seconds so far of the processes below ``root``, by what they are."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found: Counter[str] = Counter()
    waiting = list(parents.get(root, []))
    while waiting:
        pid = waiting.pop()
        waiting += parents.get(pid, [])
        if fields := _stat(pid):
            found[_name(pid)] += (int(fields[11]) + int(fields[12])) / _TICKS
    return found


def _stat(pid: int) -> list[str] | None:
    """The fields of proc(5)'s stat from the third on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _name(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    for mark, name in (
        ("server work", "work"),
        ("server serve", "serve"),
        ("gateway", "gateway"),
        ("sandbox", "sandbox"),
    ):
        if f"-m {mark}" in words:
            return name
    return "postgres"


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3000))
