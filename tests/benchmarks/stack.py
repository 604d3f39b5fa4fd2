"""Pharos as it is run: PostgreSQL, server, gateway and workers, each a process of its own, pointed at a target."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from pharos.push.v1.credentials_pb2 import CreateCredentialRequest, CredentialContent, CredentialType
from pharos.push.v1.operations_pb2 import Operation, OperationStatus

from client.calls import Metadata, basic_auth
from client.processes import Child, run_program
from client.push_client import PushClient
from tests.benchmarks import accounting, messages, target
from tests.benchmarks.judging import MismatchError
from tests.benchmarks.messages import Send
from tests.benchmarks.target import Mark, Target

CORES = len(os.sched_getaffinity(0))
FCM_STREAMS = 100  # as Google allows on a connection
_READY_WITHIN = 90.0
_STOP_WITHIN = 60.0
_FINAL_WITHIN = 1800.0
_POLL = 0.05
_BATCH = 500
_FINAL = (OperationStatus.OPERATION_STATUS_COMPLETED, OperationStatus.OPERATION_STATUS_CANCELED)


class Stack:
    """What is running. ``roles`` tell whose CPU and memory is whose."""

    def __init__(self, folder: Path, nginx: Target) -> None:
        self.target = nginx
        self._log = folder / "pharos.log"
        # No setting of the caller's own Pharos, but which PostgreSQL to run.
        self._env = {name: value for name, value in os.environ.items() if _is_kept(name)}
        self._env |= {**nginx.environment, "PHAROS_DATA_DIR": str(folder / "data")}
        self._services: dict[str, Child] = {}
        self._workers: list[Child] = []
        self._rest: httpx.AsyncClient
        self._clients: list[PushClient] = []
        self.grpc = ""
        self.metadata: Metadata = ()
        self.client: PushClient

    @property
    def roles(self) -> dict[str, list[int]]:
        services = {name: [child.pid] for name, child in self._services.items()}
        return {**services, "work": [worker.pid for worker in self._workers]}

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far, by role. Workers must not have been stopped in between."""
        return accounting.cpu_seconds(self.roles)

    async def start(self) -> None:
        """Everything but the workers, and an account with an FCM and an APNs credential."""
        ready = await self._service("postgres", "server", "database")
        self._env["DATABASE_URL"] = ready["databaseUrl"]
        await self._command("migrate")
        self.grpc = (await self._service("serve", "server", "serve"))["grpc"]
        gateway = await self._service("gateway", "gateway", "--grpc", self.grpc)
        auth = await self._new_account()
        self.client, self.metadata = self._clients[0], basic_auth(*auth)
        self._rest = httpx.AsyncClient(base_url=gateway["url"], auth=auth, timeout=120.0, trust_env=False)

    async def more_accounts(self, count: int) -> list[PushClient]:
        """So many accounts in all, of which the first is ``client``'s; each with both credentials."""
        while len(self._clients) < count:
            await self._new_account()
        return self._clients[:count]

    @property
    def database_url(self) -> str:
        return self._env["DATABASE_URL"]

    async def _new_account(self) -> tuple[str, str]:
        account = json.loads(await self._command("accounts", "create", "--name", "bench"))
        auth = (account["accountId"], account["authToken"])
        self._clients.append(PushClient(self.grpc, *auth, timeout=120.0))
        await self._upload_credentials(self._clients[-1])
        return auth

    async def start_workers(self, count: int = CORES, profile: Path | None = None) -> None:
        """So many; the first under Python's profiler where ``profile`` is to hold what it saw."""
        python = [sys.executable, "-m", "cProfile", "-o", str(profile)] if profile else [sys.executable]
        argvs = [[*(python if number == 0 else [sys.executable]), "-m", "server", "work"] for number in range(count)]
        for number, argv in enumerate(argvs):
            name = f"work-{number + 1}"
            self._workers.append(await self._spawn(name, [*argv, "--name", name, "--die-with-parent"]))
        for worker in self._workers:
            await worker.ready(_READY_WITHIN)

    async def stop(self) -> None:
        """In the opposite order of the start."""
        for client in self._clients:
            await client.close()
        if hasattr(self, "_rest"):
            await self._rest.aclose()
        await asyncio.gather(*(worker.stop(_STOP_WITHIN) for worker in self._workers))
        while self._services:
            await self._services.popitem()[1].stop(_STOP_WITHIN)

    async def accept(self, body: bytes) -> str:
        """A send over REST; its operation's id."""
        headers = {"content-type": "application/json"}
        response = await self._rest.post("/v1/PushNotifications", content=body, headers=headers)
        if response.status_code != httpx.codes.ACCEPTED:
            raise MismatchError(f"a send was answered with {response.status_code}: {response.text[:500]}")
        return str(response.json()["operationId"])

    async def final(self, operation_id: str, within: float = _FINAL_WITHIN) -> Operation:
        """The operation once it has ended. Asks only now and then: asking costs what is being measured."""
        async with asyncio.timeout(within):
            while True:
                operation = await self.client.get_operation(operation_id)
                if operation.status in _FINAL:
                    return operation
                await asyncio.sleep(_POLL)

    async def delivered(self, operations: Sequence[str], mark: Mark, sends: Sequence[Send]) -> None:
        """Wait until all is delivered and recorded. Raises MismatchError unless operations and target agree."""
        pushes = sum(send.pushes for send in sends)
        try:
            # The malformed APNs pushes are shorter in the log: the last ones are waited for below.
            await self.target.has_pushes(mark, pushes - len(sends), _FINAL_WITHIN)
            ended = [await self.final(operation_id) for operation_id in operations]
        except TimeoutError:
            raise MismatchError(f"{self.target.counted_since(mark)} of {pushes} pushes came in time") from None
        counted = self.target.counted_since(mark)
        stats = (sum(each.stats.sent for each in ended), sum(each.stats.failed for each in ended))
        expected = (sum(send.recipients - 1 for send in sends), len(sends))
        if stats != expected or counted != (pushes - len(sends), len(sends)):
            raise MismatchError(
                f"of {expected[0]:,} recipients and {expected[1]} malformed ones the operations say {stats[0]:,} sent "
                f"and {stats[1]} failed, the target counted {counted.accepted:,} accepted and {counted.refused} refused"
            )

    async def register_users(self, count: int) -> list[str]:
        """Users with one device or two; their ids."""
        user_ids: list[str] = []
        for start in range(0, count, _BATCH):
            batch = messages.registrations(range(start, min(start + _BATCH, count)))
            results = await self.client.register_devices(batch)
            made = await asyncio.gather(*(self.client.get_device_registration(each.resource_id) for each in results))
            user_ids.extend(registration.user_id for registration in made)
        for start in range(0, count, _BATCH):
            batch = messages.registrations(range(start, min(start + _BATCH, count)), user_ids)
            await self.client.register_devices(batch)
        return user_ids

    async def _upload_credentials(self, client: PushClient) -> None:
        files = self.target.credentials
        fcm = CredentialContent(private_key=_base64(files.fcm_key_file))
        apns = CredentialContent(certificate=_base64(files.apns_cert_file), private_key=_base64(files.apns_key_file))
        for kind, content in (("FCM", fcm), ("APN", apns)):
            credential_type = CredentialType.Value(f"CREDENTIAL_TYPE_{kind}")
            await client.create_credential(CreateCredentialRequest(credential_type=credential_type, content=content))

    async def _service(self, role: str, module: str, *arguments: str) -> dict[str, str]:
        argv = [sys.executable, "-m", module, *arguments, "--die-with-parent"]
        self._services[role] = child = await self._spawn(role, argv)
        return await child.ready(_READY_WITHIN)

    async def _spawn(self, name: str, argv: list[str]) -> Child:
        return await Child.spawn(name, argv, self._note, self._env)

    async def _command(self, *arguments: str) -> Any:
        argv = [sys.executable, "-m", "server", *arguments]
        return await run_program(arguments[0], argv, self._note, self._env, within=_READY_WITHIN)

    def _note(self, name: str, line: str) -> None:
        with self._log.open("a") as log:
            log.write(f"{name}: {line}\n")

    def log_tail(self) -> str:
        """The last lines that the processes said."""
        return "\n".join(self._log.read_text().splitlines()[-20:]) if self._log.exists() else ""


@asynccontextmanager
async def running(fcm_streams: int = FCM_STREAMS) -> AsyncIterator[Stack]:
    """A target and, pointed at it, a stack without workers, while this lasts. Raises NotMeasuredError.

    What went wrong in it is told with the last lines of its processes.
    """
    with tempfile.TemporaryDirectory(prefix="pharos-bench-") as folder:
        async with target.running(Path(folder) / "nginx", fcm_streams) as nginx:
            stack = Stack(Path(folder), nginx)
            try:
                await stack.start()
                yield stack
            except Exception as error:
                error.add_note(stack.log_tail())
                raise
            finally:
                await stack.stop()


def _is_kept(variable: str) -> bool:
    return variable == "PHAROS_POSTGRES_BIN" or not variable.startswith(("PHAROS_", "DATABASE_URL"))


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")
