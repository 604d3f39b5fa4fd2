"""The running server process, forked by a thread that lives exactly as long as the server does."""

from __future__ import annotations

import signal
import subprocess
import threading
from concurrent.futures import Future
from pathlib import Path

_FORK_SECONDS = 30.0
_IMMEDIATE_SECONDS = 10.0


class Postmaster:
    """Starts the command and keeps the thread that forked it.

    Linux sends the death signal when the forking *thread* ends, not its process (prctl(2), PR_SET_PDEATHSIG): forked
    from a worker of ``asyncio.to_thread`` the server would end with an idle worker. This thread waits for the server.
    """

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self._ended = threading.Event()
        self._forked: Future[subprocess.Popen[bytes]] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(command, environment, log), name="local-postgres", daemon=True
        )
        self._thread.start()
        self._process = self._forked.result(_FORK_SECONDS)

    def wait(self, timeout: float) -> bool:
        """True if the server has ended, at the latest after ``timeout`` seconds."""
        return self._ended.wait(timeout)

    def stop(self, timeout: float) -> None:
        """Fast shutdown; after ``timeout`` seconds the immediate one, which leaves a recovery to the next start."""
        for request, patience in ((signal.SIGINT, timeout), (signal.SIGQUIT, _IMMEDIATE_SECONDS)):
            self._process.send_signal(request)
            if self._ended.wait(patience):
                break
        else:
            self._process.kill()
        self._thread.join()

    def _run(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        try:
            process = _fork(command, environment, log)
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
            self._forked.set_exception(error)
            return
        self._forked.set_result(process)
        process.wait()
        self._ended.set()


def _fork(command: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own argument list, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=environment,
            start_new_session=True,  # Ctrl-C in the owner's terminal is the owner's to handle
        )
