"""How much may be sent on a connection, in both directions: settings, windows, and what we allow ourselves."""

from __future__ import annotations

from server.providers.http2 import frames
from server.providers.http2.exchange import LARGEST_ANSWER
from server.providers.http2.frames import ConnectionBroken, ErrorCode, Setting
from server.providers.http2.reader import LARGEST_BLOCK

# A stream is reset after LARGEST_ANSWER, before its window is used up: only the connection's is replenished.
_STREAM_WINDOW = 2 * LARGEST_ANSWER
_CONNECTION_WINDOW = 1 << 24


def greeting(table_size: int) -> bytes:
    """What a client says first (3.4), with our own settings."""
    own = {
        Setting.HEADER_TABLE_SIZE: table_size,
        Setting.ENABLE_PUSH: 0,
        Setting.INITIAL_WINDOW_SIZE: _STREAM_WINDOW,
        Setting.MAX_HEADER_LIST_SIZE: LARGEST_BLOCK,
    }
    more = frames.window_update(0, _CONNECTION_WINDOW - frames.DEFAULT_WINDOW)
    return frames.PREFACE + frames.settings(own) + more


class Intake:
    """The connection's window for what the peer sends."""

    def __init__(self) -> None:
        self._window = _CONNECTION_WINDOW

    def take(self, length: int) -> int:
        """Count a DATA frame; the answer is how much to give back to the peer, mostly nothing."""
        self._window -= length
        if self._window >= _CONNECTION_WINDOW // 2:
            return 0
        if self._window < 0:
            raise ConnectionBroken(ErrorCode.FLOW_CONTROL_ERROR)
        credit, self._window = _CONNECTION_WINDOW - self._window, _CONNECTION_WINDOW
        return credit


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
