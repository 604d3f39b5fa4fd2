"""`pharos up` with dummies in place of the real programs: up_with_dummies.py DATA_DIR [sandbox] [quiet]."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from client.supervision import Policy
from client.up import Programs, UpOptions, run

dummy = (sys.executable, str(Path(__file__).with_name("dummy.py")))
programs = Programs((*dummy, "server"), (*dummy, "gateway"), (*dummy, "sandbox"))
options = UpOptions(
    Path(sys.argv[1]),
    http_port=0,
    grpc_port=0,
    sandbox="sandbox" in sys.argv,
    workers=2,
    quiet="quiet" in sys.argv,
)
grace = float(os.environ.get("UP_GRACE", "1"))
sys.exit(run(options, programs, Policy(start=20, grace=grace, first_pause=0.01, longest_pause=0.05)))
