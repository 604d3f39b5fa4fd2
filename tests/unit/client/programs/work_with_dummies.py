"""`pharos work` with dummies in place of the workers: work_with_dummies.py WORKERS."""

from __future__ import annotations

import sys
from pathlib import Path

from client.supervision import Policy
from client.workers import WorkOptions, run

program = (sys.executable, str(Path(__file__).with_name("dummy.py")), "server", "work")
options = WorkOptions(int(sys.argv[1]), "w", ["--data-dir", "d"])
sys.exit(run(options, program, Policy(start=20, grace=5, first_pause=0.01, longest_pause=0.05)))
