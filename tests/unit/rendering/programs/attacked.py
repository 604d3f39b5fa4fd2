"""Renders each hostile template of stdin in a process of its own, with hard limits; one JSON line of cost for each."""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from server.domain.templates import ContentSource, RenderError, TemplateError
from server.rendering import Renderer

CPU_SECONDS = 2
SPARE_MEMORY = 64 << 20


def used(field: int) -> int:
    """Bytes of this process: of its address space (0), of memory (1)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[field])
    return pages * os.sysconf("SC_PAGE_SIZE")


def limit() -> None:
    memory = used(0) + SPARE_MEMORY
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def attack(renderer: Renderer, template: dict[str, Any], variables: dict[str, Any]) -> str:
    try:
        content = renderer.compile(ContentSource(**template)).render(variables)
    except (TemplateError, RenderError) as error:
        return str(error)
    return f"{len(content.body or '')} characters"


def in_child(renderer: Renderer, template: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
    reader, writer = os.pipe()
    before = used(1)
    child = os.fork()
    if child == 0:
        limit()
        os.write(writer, attack(renderer, template, variables).encode()[:4000])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8", errors="replace") as answer:
        outcome = answer.read()
    _, status, usage = os.wait4(child, 0)
    cpu, grown = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 - before
    return {"status": status, "outcome": outcome, "cpu": cpu, "memory": grown}


def main() -> None:
    renderer, work = Renderer(), json.load(sys.stdin)
    for template in work["templates"]:
        sys.stdout.write(json.dumps(in_child(renderer, template, work["variables"])) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
