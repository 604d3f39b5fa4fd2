"""One request to the scripted HTTP/2 server, and what a script may do about it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import hyperframe.frame as hf
from h2.errors import ErrorCodes

if TYPE_CHECKING:
    from tests.contract.http2_peer import Peer

Fields = Iterable[tuple[str, str]]


def content_of(path: str) -> bytes:
    """What the server answers unless told otherwise: each request something else."""
    return f"answer to {path}".encode()


class Exchange:
    """``room``: the bytes of DATA that the client may still send. ``credit``: those that the server may."""

    def __init__(self, peer: Peer, stream_id: int, fields: Sequence[tuple[str, str]], room: int, credit: int) -> None:
        self.peer = peer
        self.stream_id = stream_id
        self.headers = dict(fields)
        self.path = self.headers.get(":path", "")
        self.body = bytearray()
        self.room = room
        self.credit = credit
        self.unsent: deque[tuple[bytes, bool]] = deque()
        self.whole = False  # END_STREAM came
        self.reset_by: str | None = None
        self.answered = False

    @property
    def open(self) -> bool:
        return self.reset_by is None and not (self.whole and self.answered)

    def process(self) -> None:
        """What a provider does when it takes a push. Only then is the request in the ledger."""
        self.peer.server.processed[self.path] += 1

    def answer(self, status: int = 200, body: bytes | None = None, fields: Fields = (), trailers: Fields = ()) -> None:
        """Process, and answer as soon as the client's windows allow."""
        self.process()
        self.reply(status, content_of(self.path) if body is None else body, fields, trailers)

    def reply(self, status: int, body: bytes = b"", fields: Fields = (), trailers: Fields = ()) -> None:
        """Answer without having processed anything."""
        self.head(status, fields, end=not body and not trailers)
        if body:
            self.data(body, end=not trailers)
        if trailers:
            self.peer.send(self.peer.headers(self.stream_id, trailers, end=True))
            self.answered = True

    def head(self, status: int, fields: Fields = (), *, end: bool = False) -> None:
        """Only the header block."""
        self.peer.send(self.peer.headers(self.stream_id, [(":status", str(status)), *fields], end=end))
        self.answered = self.answered or end

    def data(self, content: bytes, *, end: bool = False) -> None:
        """A part of the answer's body."""
        self.unsent.append((content, end))
        self.peer.pump()

    def reset(self, code: int) -> None:
        if self.open:
            self.reset_by = "server"
            self.unsent.clear()
            self.peer.send(hf.RstStreamFrame(self.stream_id, error_code=code))

    def refuse(self) -> None:
        """RFC 9113, 8.7: nothing was processed."""
        self.reset(ErrorCodes.REFUSED_STREAM)

    def widen(self, size: int) -> None:
        """Let the client send so much more on this stream."""
        if self.open and not self.whole:
            self.room += size
            self.peer.send(hf.WindowUpdateFrame(self.stream_id, window_increment=size))
