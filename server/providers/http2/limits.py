"""How much may be sent on a connection: what the peer's settings and windows allow, and what we allow ourselves."""

from __future__ import annotations

from server.providers.http2 import frames
from server.providers.http2.frames import ConnectionBroken, ErrorCode, Setting


class Limits:
    """``streams`` is the most at once, ``window`` the bytes that the connection may still carry.

    ``stream_window`` is what each new stream may carry. Where ``unproven``, one stream is all.
    """

    def __init__(self, streams: int, *, proof: bool) -> None:
        self._own_streams = self._peer_streams = streams
        self.unproven = proof
        self.streams = 1 if proof else streams
        self.window = frames.DEFAULT_WINDOW
        self.stream_window = frames.DEFAULT_WINDOW
        self.frame_size = frames.DEFAULT_FRAME_SIZE

    def prove(self) -> None:
        """The peer took our credential."""
        self.unproven = False
        self.streams = min(self._own_streams, self._peer_streams)

    def set(self, key: int, value: int) -> None:
        """One of the peer's settings."""
        if key == Setting.MAX_CONCURRENT_STREAMS:
            self._peer_streams = value
            self.streams = min(1 if self.unproven else self._own_streams, value)
        elif key == Setting.INITIAL_WINDOW_SIZE:
            self.stream_window = value
        elif key == Setting.MAX_FRAME_SIZE:
            self.frame_size = value

    def widen(self, increment: int) -> None:
        """A WINDOW_UPDATE of the connection (6.9)."""
        self.window += increment
        if not increment:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR)
        if self.window > frames.LARGEST_WINDOW:
            raise ConnectionBroken(ErrorCode.FLOW_CONTROL_ERROR)
