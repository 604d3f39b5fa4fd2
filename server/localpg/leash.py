"""Run as a script: become the given user, make the program die with its owner, then turn into the program.

``leash.py OWNER_PID UID GID PROGRAM [ARGUMENT...]``; a UID of -1 keeps the user. It is a program of its own and not a
``preexec_fn`` because Python code between fork and exec may deadlock in a process that has threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _become(uid: int, gid: int) -> None:
    if uid != -1:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


def _die_with(owner: int) -> None:
    """SIGINT, PostgreSQL's fast shutdown, when the thread that forked us ends (prctl(2), Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
    if os.getppid() != owner:  # it died before the call above, so no signal will come
        sys.exit(1)


def main(owner: str, uid: str, gid: str, *program: str) -> None:
    _become(int(uid), int(gid))  # first: a change of user clears the death signal
    _die_with(int(owner))
    try:
        os.execv(program[0], program)  # noqa: S606 - becoming the program without a shell is the point
    except OSError as error:
        sys.exit(f"{program[0]}: {error.strerror}")


if __name__ == "__main__":
    main(*sys.argv[1:])
