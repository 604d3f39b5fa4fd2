"""Stands in for server, gateway and sandbox: says what they say, does nothing, and can be told to misbehave.

    dummy.py server|gateway|sandbox [their arguments]

DUMMY_SHORT_LIVED names a program that ends right after its ready line, DUMMY_STUBBORN one that ignores SIGTERM,
DUMMY_FAILING one that ends with exit code 3 before it is ready.
"""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import sys
import threading

from client.processes import die_with_parent


def option(name: str, default: str = "") -> str:
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def ready(**values: str) -> None:
    sys.stdout.write(f"ready {json.dumps(values)}\n")
    sys.stdout.flush()


class Readiness(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def listen(option_name: str) -> int:
    """A port that is ours, as a program restarted on its port needs it."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(option(option_name, "0"))))
    listener.listen()
    _listeners.append(listener)
    return listener.getsockname()[1]


_listeners: list[socket.socket] = []


def serve_readiness() -> int:
    server = http.server.HTTPServer(("127.0.0.1", int(option("--port", "0"))), Readiness)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def come_up(name: str) -> None:
    match name:
        case "database":
            ready(databaseUrl=f"postgresql://{option('--data-dir')}")
        case "serve":
            ready(grpc=f"127.0.0.1:{listen('--port')}")
        case "gateway":
            ready(url=f"http://127.0.0.1:{serve_readiness()}")
        case "sandbox":
            fcm, apns, apns_sandbox, control = (
                listen(f"--{port}-port") for port in ("fcm", "apns", "apns-sandbox", "control")
            )
            files = {key: f"{option('--dir')}/{key}" for key in ("caFile", "fcmKeyFile", "apnsCertFile", "apnsKeyFile")}
            ready(
                controlUrl=f"http://127.0.0.1:{control}",
                fcmUrl=f"https://127.0.0.1:{fcm}",
                oauthUrl=f"https://127.0.0.1:{fcm}/token",
                apnsUrl=f"https://127.0.0.1:{apns}",
                apnsSandboxUrl=f"https://127.0.0.1:{apns_sandbox}",
                apnsP8File=f"{option('--dir')}/apnsP8File",
                apnsKeyId="KEY1234567",
                apnsTeamId="TEAM123456",
                apnsTopic="com.example.app",
                fcmProjectId="project",
                **files,
            )
        case worker:
            ready(worker=worker)


def run(name: str) -> None:
    if os.environ.get("DUMMY_FAILING") == name:
        sys.exit(3)
    seen = {key: os.environ.get(key) for key in ("DATABASE_URL", "PHAROS_FCM_URL", "PHAROS_PROVIDER_CA")}
    say(f"{name} up pid={os.getpid()} args={' '.join(sys.argv[2:])} env={json.dumps(seen)}")
    come_up(name)
    if os.environ.get("DUMMY_SHORT_LIVED") == name:
        sys.exit(7)
    ending = {signal.SIGTERM}
    if os.environ.get("DUMMY_STUBBORN") == name:
        ending = {signal.SIGUSR1}
    signal.sigwait(ending)
    say(f"{name} down")


def main() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    if "--die-with-parent" in sys.argv:
        die_with_parent()
    program, *arguments = sys.argv[1:]
    name = arguments[0] if program == "server" else program
    if name == "accounts":
        sys.stdout.write(json.dumps({"accountId": f"account-{os.getpid()}", "authToken": "made-up-secret"}) + "\n")
    elif name == "migrate":
        say("migrated")
    else:
        run(option("--name", name))


main()
