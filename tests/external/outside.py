"""Programs of others, as the system has them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.acceptance.programs import clean_environment

_ENDS_WITHIN = 150.0
_PACKAGES = {
    "bash": "bash",
    "chromium": "chromium",
    "curl": "curl",
    "nghttpd": "nghttp2-server",
    "nginx": "nginx-light",
    "node": "nodejs",
    "npm": "npm",
}


def run(
    program: str, *words: str | Path, folder: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs it to its end. Fails the test where it is missing or ends badly."""
    ended = subprocess.run(  # noqa: S603 - no shell, and the words are the tests'
        [find(program), *map(str, words)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=clean_environment() | dict(env or {}),
        timeout=_ENDS_WITHIN,
    )
    assert ended.returncode == 0, f"{program} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}"
    return ended


def need(*programs: str) -> None:
    """Fails the test where one is missing."""
    for program in programs:
        find(program)


def find(program: str) -> str:
    """Where it is. Fails the test where it is missing."""
    found = shutil.which(program)
    if found is None:
        pytest.fail(f"{program} is missing: install Debian's package {_PACKAGES[program]}")
    return found


def fill(sample: str, values: Mapping[str, str]) -> str:
    """The sample with live values in place of its made-up ones, each of which it has to have."""
    for made_up, live in values.items():
        assert made_up in sample, f"no {made_up} in the sample"
        sample = sample.replace(made_up, live)
    return sample
