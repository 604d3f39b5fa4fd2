"""The programs that stand in the documentation, run as they stand there."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_DOCS = Path(__file__).parents[3] / "docs"


def program_of(page: str) -> str:
    """The only Python program of a page."""
    [program] = re.findall(r"^```python\n(.*?)^```$", (_DOCS / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return str(program)


def account_of_the_test(port: int) -> dict[str, str]:
    """Where the test's service is, and who asks it."""
    return {
        "PHAROS_GRPC": f"http://127.0.0.1:{port}",
        "PHAROS_ACCOUNT_ID": "account",
        "PHAROS_AUTH_TOKEN": "secret",
    }


async def run_program(program: str, *arguments: str, env: Mapping[str, str]) -> str:
    """What it prints. Fails where it ends badly."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", program, *arguments),
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        said, complained = await process.communicate()
    assert process.returncode == 0, complained.decode()
    return said.decode()
