"""On what the figures were taken: the report names it, since CPU seconds of another machine are other seconds."""

from __future__ import annotations

import os
import platform
import re
import ssl
import subprocess
from pathlib import Path

from server.localpg.binaries import find_installation
from server.localpg.identity import Identity
from tests.benchmarks import stack


def describe() -> dict[str, str | int]:
    """CPU, cores, memory and the programs that are the same for all figures."""
    return {
        "cpu": _cpu_model(),
        "cores": stack.CORES,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "postgresql": _postgresql(),
    }


def commit() -> str | None:
    """The checkout's commit, with a + when files differ from it; None outside of git."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return f"{head}+" if _git("status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    argv = ["git", "-C", str(Path(__file__).parent), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def _cpu_model() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found.group(1) if found else platform.machine()


def _postgresql() -> str:
    folder = find_installation([Identity("this user")], None).folder
    said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\(PostgreSQL\) ([\d.]+)", said)
    return found.group(1) if found else said.strip()
