"""Services kept running: started in order, started again when they die, stopped in reverse order."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

from client.backoff import Backoff
from client.processes import Child, Log, ProcessError, Ready, ending

Result = TypeVar("Result")


class GaveUpError(ProcessError):
    """A service died too often."""


@dataclass(frozen=True, slots=True)
class Port:
    """An option that takes a port, what to ask for at first (0: any), and the ready key that says which it got."""

    option: str
    ready_key: str
    first: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """How a service is started."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    ports: Sequence[Port] = ()

    def command(self, ready: Ready | None) -> list[str]:
        """The command line; with the ports that the service had, when it was ready before."""
        command = list(self.argv)
        for port in self.ports:
            number = port_of(ready[port.ready_key]) if ready else port.first
            command += [port.option, str(number)]
        return command


@dataclass(frozen=True, slots=True)
class Policy:
    """Seconds to wait for a start and for a stop, and how many deaths within `window` seconds are too many."""

    start: float = 60.0
    grace: float = 30.0  # above the 20 that server and workers allow themselves
    deaths: int = 5
    window: float = 60.0
    first_pause: float = 0.2
    longest_pause: float = 5.0


def port_of(address: str) -> int:
    """The port of `host:port` or of a URL."""
    port = urlsplit(address if "//" in address else f"//{address}").port
    if port is None:
        raise ProcessError(f"{address!r} has no port")
    return port


class Service:
    """One program that is to run until it is stopped."""

    def __init__(self, plan: Plan, log: Log, policy: Policy) -> None:
        self.plan = plan
        self._log = log
        self._policy = policy
        self._child: Child | None = None
        self._ready: Ready | None = None
        self._deaths: deque[float] = deque()

    async def start(self) -> Ready:
        """Starts the program, on the ports it had before. Raises ProcessError, with the program stopped again."""
        self._child = await Child.spawn(self.plan.name, self.plan.command(self._ready), self._log, self.plan.env)
        try:
            self._ready = await self._child.ready(self._policy.start)
        except ProcessError:
            await self._child.stop(self._policy.grace)
            raise
        return self._ready

    async def keep(self) -> None:
        """Starts the program again whenever it dies, until canceled. Raises GaveUpError when it dies too often."""
        backoff = Backoff(self._policy.first_pause, self._policy.longest_pause)
        while self._child is not None:
            how = ending(await self._child.ended())
            self._count_death(how)
            if len(self._deaths) == 1:
                backoff.reset()
            self._log("up", f"{self.plan.name} {how}; starting it again")
            await asyncio.sleep(backoff.take())
            try:
                await self.start()
            except ProcessError as error:
                self._log("up", str(error))

    async def stop(self) -> None:
        if self._child is not None:
            await self._child.stop(self._policy.grace)

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()

    def _count_death(self, how: str) -> None:
        now = time.monotonic()
        self._deaths.append(now)
        while now - self._deaths[0] > self._policy.window:
            self._deaths.popleft()
        if len(self._deaths) >= self._policy.deaths:
            often = f"{len(self._deaths)} times within {self._policy.window:g} s"
            raise GaveUpError(f"{self.plan.name} {how}, {often}")


class Fleet:
    """Services in the order of their start. `stop` must be called in any case."""

    def __init__(self, log: Log, policy: Policy) -> None:
        self._log = log
        self._policy = policy
        self._tiers: list[list[Service]] = []

    async def start(self, *plans: Plan) -> list[Ready]:
        """Starts services that don't need one another; their ready lines, in order. Raises ProcessError."""
        tier = [Service(plan, self._log, self._policy) for plan in plans]
        self._tiers.append(tier)
        return await together(*(service.start() for service in tier))

    async def keep(self) -> None:
        """Keeps all services running until canceled. Raises GaveUpError when one dies too often."""
        await together(*(service.keep() for tier in self._tiers for service in tier))

    async def stop(self) -> None:
        """Stops all services, the last started first, gracefully; kills what is left when the wait is canceled."""
        try:
            while self._tiers:
                await together(*(service.stop() for service in self._tiers[-1]))
                self._tiers.pop()
        finally:
            for service in (service for tier in self._tiers for service in tier):
                service.kill()


async def together(*work: Awaitable[Result]) -> list[Result]:
    """The results of all, in order. The first failure cancels the others and is raised by itself, not in a group."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_awaited(each)) for each in work]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    return [task.result() for task in tasks]


async def _awaited(work: Awaitable[Result]) -> Result:
    return await work
