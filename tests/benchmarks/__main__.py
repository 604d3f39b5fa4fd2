"""``make bench``: runs every benchmark here, each in a process of its own, and prints their reports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Return 0 when every benchmark ran."""
    failed = 0
    for script in sorted(Path(__file__).parent.glob("bench_*.py")):
        print(f"== {script.stem.removeprefix('bench_').replace('_', ' ')}", flush=True)
        failed |= subprocess.run([sys.executable, str(script)], check=False).returncode
        print(flush=True)
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
