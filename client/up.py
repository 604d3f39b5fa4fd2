"""`pharos up`: database, server, workers, gateway and, if wanted, the provider sandbox, in one go."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from client.dev_env import read_env_file, write_env_file
from client.processes import Log, ProcessError, Ready, run_program
from client.supervision import Fleet, Plan, Policy, Port, together

_HEALTHY_WITHIN = 60.0
_MIGRATE_WITHIN = 600.0
_CREATE_WITHIN = 60.0
_HEALTH_PAUSE = 0.1

# Name in dev.env: key of the sandbox's ready line. Files are written as absolute paths.
_SANDBOX_VARIABLES = {
    "PHAROS_SANDBOX_URL": "controlUrl",
    "PHAROS_SANDBOX_FCM_KEY": "fcmKeyFile",
    "PHAROS_SANDBOX_APNS_CERT": "apnsCertFile",
    "PHAROS_SANDBOX_APNS_KEY": "apnsKeyFile",
    "PHAROS_SANDBOX_APNS_P8": "apnsP8File",
    "PHAROS_SANDBOX_APNS_KEY_ID": "apnsKeyId",
    "PHAROS_SANDBOX_APNS_TEAM_ID": "apnsTeamId",
    "PHAROS_SANDBOX_APNS_TOPIC": "apnsTopic",
}
_SANDBOX_PORTS = {
    "--fcm-port": "fcmUrl",
    "--apns-port": "apnsUrl",
    "--apns-sandbox-port": "apnsSandboxUrl",
    "--control-port": "controlUrl",
}


class AlreadyUpError(ProcessError):
    """Another `up` has this data directory."""


@dataclass(frozen=True, slots=True)
class Programs:
    """The command lines of the programs that `up` starts, without their arguments."""

    server: tuple[str, ...] = (sys.executable, "-m", "server")
    gateway: tuple[str, ...] = (sys.executable, "-m", "gateway")
    sandbox: tuple[str, ...] = (sys.executable, "-m", "sandbox")


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What `up` is asked for. Port 0 means any free one."""

    data_dir: Path = Path("data")
    http_port: int = 8080
    grpc_port: int = 8081
    sandbox: bool = False
    workers: int = 1
    quiet: bool = False


def run(options: UpOptions, programs: Programs | None = None, policy: Policy | None = None) -> int:
    """Runs everything until SIGTERM or SIGINT; the exit code: 0 after a signal, 1 if it could not go on."""
    try:
        with _sole_owner(options.data_dir):
            log = _log_to(options.data_dir / "logs" if options.quiet else None)
            asyncio.run(_until_signal(_Up(options, programs or Programs(), policy or Policy(), log)))
    except (ProcessError, OSError) as error:
        sys.stderr.write(f"pharos up: {error}\n")
        return 1
    return 0


async def _until_signal(up: _Up) -> None:
    """Runs `up`; the first signal stops it in order, a second one kills what is still there."""
    running = asyncio.create_task(up.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        up.log("up", "stopped")


class _Up:
    """One run of everything."""

    def __init__(self, options: UpOptions, programs: Programs, policy: Policy, log: Log) -> None:
        self.log = log
        self._options = options
        self._programs = programs
        self._fleet = Fleet(log, policy)
        self._data_dir = options.data_dir.resolve()
        self._env_file = self._data_dir / "dev.env"
        self._env = {**os.environ, "PHAROS_DATA_DIR": str(self._data_dir)}

    async def run(self) -> None:
        try:
            await self._database()
            account = await self._account()
            sandbox = await self._sandbox() if self._options.sandbox else {}
            url, grpc = await self._service()
            variables = {"PHAROS_URL": url, "PHAROS_GRPC": f"http://{grpc}", **account, **sandbox}
            await together(self._fleet.keep(), self._announce(variables))
        finally:
            await self._fleet.stop()

    async def _database(self) -> None:
        if not self._env.get("DATABASE_URL"):
            argv = [*self._programs.server, "database", "--data-dir", str(self._data_dir), "--die-with-parent"]
            [ready] = await self._fleet.start(Plan("database", argv, self._env))
            self._env["DATABASE_URL"] = ready["databaseUrl"]
        argv = [*self._programs.server, "migrate"]
        await run_program("migrate", argv, self.log, self._env, within=_MIGRATE_WITHIN)

    async def _account(self) -> dict[str, str]:
        """The account of an earlier run, or a new one."""
        if self._env_file.exists():
            kept = read_env_file(self._env_file)
            account = {name: kept.get(name, "") for name in ("PHAROS_ACCOUNT_ID", "PHAROS_AUTH_TOKEN")}
            if all(account.values()):
                return account
        argv = [*self._programs.server, "accounts", "create", "--name", "dev"]
        created = json.loads(await run_program("accounts", argv, self.log, self._env, within=_CREATE_WITHIN))
        return {"PHAROS_ACCOUNT_ID": created["accountId"], "PHAROS_AUTH_TOKEN": created["authToken"]}

    async def _sandbox(self) -> dict[str, str]:
        """Starts the sandbox and points the providers' addresses at it; what dev.env says about it."""
        argv = [*self._programs.sandbox, "--dir", str(self._data_dir / "sandbox"), "--die-with-parent"]
        ports = [Port(option, key) for option, key in _SANDBOX_PORTS.items()]
        [ready] = await self._fleet.start(Plan("sandbox", argv, self._env, ports))
        self._env |= {
            "PHAROS_FCM_URL": ready["fcmUrl"],
            "PHAROS_OAUTH_URL": ready["oauthUrl"],
            "PHAROS_APNS_URL": ready["apnsUrl"],
            "PHAROS_APNS_SANDBOX_URL": ready["apnsSandboxUrl"],
            "PHAROS_PROVIDER_CA": ready["caFile"],
        }
        return {name: _absolute(key, ready) for name, key in _SANDBOX_VARIABLES.items()}

    async def _service(self) -> tuple[str, str]:
        """Starts server, workers and gateway; the REST URL, and the gRPC address as `host:port`."""
        server = (*self._programs.server, "serve", "--die-with-parent")
        serve = Plan("server", server, self._env, [Port("--port", "grpc", self._options.grpc_port)])
        names = [f"worker-{number}" for number in range(1, self._options.workers + 1)]
        worker = (*self._programs.server, "work", "--die-with-parent", "--name")
        served, *_ = await self._fleet.start(serve, *(Plan(name, (*worker, name), self._env) for name in names))
        gateway = (*self._programs.gateway, "--grpc", served["grpc"], "--die-with-parent")
        ports = [Port("--port", "url", self._options.http_port)]
        [ready] = await self._fleet.start(Plan("gateway", gateway, self._env, ports))
        return ready["url"], served["grpc"]

    async def _announce(self, variables: Mapping[str, str]) -> None:
        await _healthy(variables["PHAROS_URL"])
        write_env_file(self._env_file, variables)
        said = {"url": variables["PHAROS_URL"], "grpc": variables["PHAROS_GRPC"], "env": str(self._env_file)}
        sys.stdout.write(f"ready {json.dumps(said)}\n")
        sys.stdout.flush()


def _absolute(key: str, ready: Ready) -> str:
    return str(Path(ready[key]).resolve()) if key.endswith("File") else ready[key]


async def _healthy(url: str) -> None:
    """Waits until the gateway says that it can serve. Raises ProcessError when it doesn't come to that."""
    try:
        async with asyncio.timeout(_HEALTHY_WITHIN), httpx.AsyncClient(base_url=url, timeout=5.0) as http:
            while True:
                if await _says_ready(http):
                    return
                await asyncio.sleep(_HEALTH_PAUSE)
    except TimeoutError:
        raise ProcessError(f"{url}/readyz was not ready after {_HEALTHY_WITHIN:g} s") from None


async def _says_ready(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/readyz")).is_success
    except httpx.TransportError:
        return False


@contextmanager
def _sole_owner(data_dir: Path) -> Iterator[None]:
    """Holds the data directory. The kernel lets it go when this process ends in any way."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (data_dir / "up.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyUpError(f"another `pharos up` already runs on {data_dir.resolve()}") from None
        yield


def _log_to(directory: Path | None) -> Log:
    """Lines of the programs: to stderr behind their names, or each to its own file."""

    def to_stderr(name: str, line: str) -> None:
        sys.stderr.write(f"{name:<9}| {line}\n")
        sys.stderr.flush()

    def to_file(name: str, line: str) -> None:
        if name == "up":
            to_stderr(name, line)
        with (files / f"{name}.log").open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    if directory is None:
        return to_stderr
    files = directory
    files.mkdir(mode=0o700, parents=True, exist_ok=True)
    return to_file
