"""Figure (c): a push from the REST call to its recorded result, all processes counted, beside aioapns alone."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field

from sandbox.identity import APNS_TOPIC
from tests.benchmarks import accounting, judging, stack
from tests.benchmarks.accounting import difference
from tests.benchmarks.arithmetic import median_ratio, per_10k
from tests.benchmarks.clients import starting
from tests.benchmarks.clients.driving import Job
from tests.benchmarks.clients.starting import CLIENTS
from tests.benchmarks.figure import Figure, Sizes, Table, say
from tests.benchmarks.messages import Send
from tests.benchmarks.programs import NotMeasuredError
from tests.benchmarks.stack import Stack
from tests.benchmarks.target import Target

KEYS = ("end_to_end_cpu_s_per_10k", "end_to_end_vs_aioapns")
_ROLES = ("gateway", "serve", "work", "postgres")
_HEADLINE = "FCM tokens, personalised"
_LIKE_AIOAPNS = "APNs tokens, personalised"
_AIOAPNS = next(client for client in CLIENTS if client.name == "aioapns")


@dataclass
class Costs:
    """CPU seconds per 10,000 pushes: of ours by kind of send and role, round by round; of aioapns; of the target."""

    ours: dict[str, list[dict[str, float]]]
    target: dict[str, list[float]]
    seconds: dict[str, list[float]]
    aioapns: list[float] = field(default_factory=list)
    reason: str = ""

    def totals(self, kind: str) -> list[float]:
        return [sum(each.values()) for each in self.ours[kind]]


async def measure(sizes: Sizes) -> Figure:
    """The kinds take turns, and one send of each goes before, unmeasured."""
    async with stack.running() as running:
        await running.start_workers()
        say("end to end: registering users")
        kinds = _kinds(sizes, await running.register_users(sizes.recipients - 1))
        costs = await _deliver_all(running, kinds, sizes)
    return _figure(costs, sizes)


def _kinds(sizes: Sizes, users: list[str]) -> dict[str, Send]:
    return {
        "FCM tokens, constant": Send("FCM", sizes.recipients, personalised=False),
        _HEADLINE: Send("FCM", sizes.recipients, personalised=True),
        _LIKE_AIOAPNS: Send("APN", sizes.recipients, personalised=True),
        "users, constant": Send("users", sizes.recipients, personalised=False, users=users),
        "users, personalised": Send("users", sizes.recipients, personalised=True, users=users),
    }


async def _deliver_all(running: Stack, kinds: dict[str, Send], sizes: Sizes) -> Costs:
    costs = Costs({kind: [] for kind in kinds}, {kind: [] for kind in kinds}, {kind: [] for kind in kinds})
    bodies = {kind: send.rest_body() for kind, send in kinds.items()}
    for number in range(sizes.sends + 1):
        say(f"end to end: round {number} of {sizes.sends}")
        for kind, send in kinds.items():
            await _deliver(running, kind, send, bodies[kind], costs if number > 0 else None)
        if number > 0 and not costs.reason:
            await _aioapns(running.target, sizes, costs)
    return costs


async def _deliver(running: Stack, kind: str, send: Send, body: bytes, costs: Costs | None) -> None:
    roles = {**running.roles, "target": [running.target.pid]}
    mark, before = running.target.mark(), accounting.cpu_seconds(roles)
    began = time.monotonic()
    operation = await running.accept(body)
    await running.delivered([operation], mark, [send])
    spent, took = difference(accounting.cpu_seconds(roles), before), time.monotonic() - began
    if costs is not None:
        costs.ours[kind].append({role: per_10k(spent[role], send.pushes) for role in _ROLES})
        costs.target[kind].append(per_10k(spent["target"], send.pushes))
        costs.seconds[kind].append(took)


async def _aioapns(nginx: Target, sizes: Sizes, costs: Costs) -> None:
    """The same messages to the same target, without a queue, a database or a result that outlives the process."""
    credentials = nginx.credentials
    job = Job(
        url=nginx.apns_url,
        ca_file=str(credentials.ca_file),
        mode="apns",
        path="",
        authorization="",
        topic=APNS_TOPIC,
        pushes=sizes.recipients,
        in_flight=_AIOAPNS.in_flight,
        apns_p8_file=str(credentials.apns_p8_file),
        like_pharos=True,
    )
    mark = nginx.mark()
    try:
        report = await starting.run(_AIOAPNS, job)
    except NotMeasuredError as error:
        costs.reason = str(error)
        return
    judging.check("aioapns (end to end)", sizes.recipients, report, *nginx.counted_since(mark))
    costs.aioapns.append(per_10k(report.cpu, report.timed))


def _figure(costs: Costs, sizes: Sizes) -> Figure:
    headline, apns = costs.totals(_HEADLINE), costs.totals(_LIKE_AIOAPNS)
    ratios: dict[str, float | None] = {KEYS[0]: statistics.median(headline), KEYS[1]: None}
    if costs.aioapns:
        ratios[KEYS[1]] = median_ratio(apns, costs.aioapns)
    reasons = {KEYS[1]: f"not measured: {costs.reason}"} if costs.reason else {}
    raw = {
        "cpu_s_per_10k": costs.ours,
        "target_cpu_s_per_10k": costs.target,
        "seconds": costs.seconds,
        "aioapns_cpu_s_per_10k": costs.aioapns,
        "sends": sizes.sends,
        "recipients": sizes.recipients,
        "workers": stack.CORES,
    }
    return Figure(ratios, reasons, raw, [_table(costs, sizes)])


def _table(costs: Costs, sizes: Sizes) -> Table:
    columns = ["send to", *_ROLES, "sum", "target", "seconds"]
    rows = [[kind, *_row(costs, kind)] for kind in costs.ours]
    if costs.aioapns:
        rows.append(["aioapns alone", "", "", "", "", f"{statistics.median(costs.aioapns):.3f}", "", ""])
    notes = [
        f"{stack.CORES} workers; accepted over REST; from the call to the last recorded result, the target apart",
        "users: every other one has an FCM and an APNs device, the others an FCM device; personalised: two variables",
    ]
    return Table(f"End to end, {sizes.recipients:,} recipients, CPU s / 10,000 pushes", columns, rows, notes)


def _row(costs: Costs, kind: str) -> list[str]:
    stages = [f"{statistics.median(each[role] for each in costs.ours[kind]):.3f}" for role in _ROLES]
    total, provider = statistics.median(costs.totals(kind)), statistics.median(costs.target[kind])
    return [*stages, f"{total:.3f}", f"{provider:.3f}", f"{statistics.median(costs.seconds[kind]):.2f}"]
