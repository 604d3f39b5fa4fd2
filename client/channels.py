"""The gRPC connection to the service, as everything in here uses it."""

from __future__ import annotations

import grpc

from client.connection import split_target

MAX_MESSAGE_BYTES = 32 * 1024 * 1024

_OPTIONS = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # gRPC's own pause between connection attempts grows to two minutes: far longer than a restart takes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


def open_channel(target: str, *, secure: bool = False, root_certificates: bytes | None = None) -> grpc.aio.Channel:
    """A channel to `host:port`, or `http://` and `https://` in front of it. Needs a running event loop.

    `secure` is TLS with the system's roots, or with `root_certificates` (PEM).
    """
    address, says_tls = split_target(target)
    if not (secure or says_tls or root_certificates):
        return grpc.aio.insecure_channel(address, options=_OPTIONS)
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(root_certificates), options=_OPTIONS)
