"""Figure (b): what it costs to accept a send, over REST and over gRPC. No worker runs."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable

from tests.benchmarks import stack
from tests.benchmarks.accounting import difference
from tests.benchmarks.arithmetic import per_10k
from tests.benchmarks.figure import Figure, Sizes, Table, say
from tests.benchmarks.messages import Send
from tests.benchmarks.stack import Stack

KEYS = ("accept_cpu_s_per_10k", "accept_grpc_cpu_s_per_10k")
_ROLES = ("gateway", "serve", "postgres")

Costs = dict[str, list[dict[str, float]]]
"""CPU seconds per 10,000 recipients by role, for each send of each kind."""


async def measure(sizes: Sizes) -> Figure:
    """The kinds take turns, and one send of each goes before, unmeasured."""
    async with stack.running() as running:
        costs = await _accept_all(running, sizes)
    return _figure(costs, sizes)


async def _accept_all(running: Stack, sizes: Sizes) -> Costs:
    kinds = _kinds(running, sizes)
    costs: Costs = {kind: [] for kind in kinds}
    for number in range(sizes.accepts + 1):
        say(f"accept: send {number} of {sizes.accepts} of each kind")
        for kind, accept in kinds.items():
            before = running.cpu()
            await accept()
            spent = difference(running.cpu(), before)
            if number > 0:
                costs[kind].append({role: per_10k(spent[role], sizes.recipients) for role in _ROLES})
    return costs


def _kinds(running: Stack, sizes: Sizes) -> dict[str, Callable[[], Awaitable[object]]]:
    """What accepts one send of each kind; the bodies are made beforehand."""
    kinds: dict[str, Callable[[], Awaitable[object]]] = {}
    for text, personalised in (("personalised", True), ("constant", False)):
        send = Send("FCM", sizes.recipients, personalised)
        body, request = send.rest_body(), send.grpc_request()
        kinds[f"REST, {text}"] = lambda body=body: running.accept(body)  # type: ignore[misc] # bound now, not later
        kinds[f"gRPC, {text}"] = lambda request=request: running.client.send(request)  # type: ignore[misc] # likewise
    return kinds


def _figure(costs: Costs, sizes: Sizes) -> Figure:
    totals = {kind: statistics.median(sum(each.values()) for each in found) for kind, found in costs.items()}
    rows = [
        [kind, *(f"{statistics.mean(each[role] for each in found):.3f}" for role in _ROLES), f"{totals[kind]:.3f}"]
        for kind, found in costs.items()
    ]
    notes = ["FCM tokens of 163 characters; personalised: two variables each. The stages are means, the sum a median."]
    table = Table(f"Accept of {sizes.recipients:,} recipients, CPU s / 10,000", ["", *_ROLES, "sum"], rows, notes)
    ratios: dict[str, float | None] = {KEYS[0]: totals["REST, personalised"], KEYS[1]: totals["gRPC, personalised"]}
    return Figure(ratios, {}, {"cpu_s_per_10k": costs, "sends": sizes.accepts}, [table])
