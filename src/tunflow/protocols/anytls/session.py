"""One AnyTLS session: a connection of TLS that carries one stream after the other.

Read first: AnyTLS's protocol description (anytls-go, docs/protocol.md), version 2. Frames: a command, a stream's
number, the size of the data. A session has one stream at a time, so nothing has to be shared out: who takes nothing
holds the connection up. Of half-closed streams it knows nothing: an end ends both directions, so ours waits until the
server has been silent for `LINGER` seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from hashlib import sha256

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket
from tunflow.protocols import address
from tunflow.protocols.anytls import padding
from tunflow.protocols.anytls.padding import FRAME_HEADER as HEADER
from tunflow.protocols.codec import ProxyRefused, Refusal
from tunflow.protocols.handshake import Handshake
from tunflow.protocols.shared_stream import SharedStream

WASTE, SYN, PUSH, FIN, SETTINGS, ALERT, PADDING, SYN_ACK, ASK, ANSWER, SERVER_SETTINGS = range(11)

LARGEST = 16384 - HEADER
"""Bytes of data in a frame of ours: one record of TLS."""
WINDOW = 256 * 1024
"""Bytes that the owner of a stream did not take, behind which nothing more is read."""
IDLE = 60.0
"""Seconds without a stream after which a session is closed."""
QUIET = 10.0
"""Seconds without a byte after which a new stream asks for a sign of life."""
PATIENCE = 8.0
"""Seconds for that sign."""
LINGER = 15.0
"""Seconds of silence after which a stream that its owner has finished is ended."""
_VERSION = 2


class LatestScheme:
    """The padding scheme that a server asked for last, which its next session has."""

    def __init__(self) -> None:
        self.scheme = padding.USUAL


def frame(command: int, stream: int, data: Buffer = b"") -> bytes:
    """One frame."""
    return b"".join((bytes((command,)), stream.to_bytes(4, "big"), len(data).to_bytes(2, "big"), data))


def waste(size: int) -> bytes:
    """A frame of padding, of `size` bytes in all where they are enough for one."""
    return frame(WASTE, 0, bytes(max(0, size - HEADER)))


class AnyTLSSession:
    """The client's end of one session. As `PooledSession`."""

    def __init__(self, password: str, server: LatestScheme, random_bytes: Callable[[int], bytes]) -> None:
        self._key = sha256(password.encode()).digest()
        self._server = server
        self._scheme = server.scheme
        self._random_bytes = random_bytes
        self._stream: SharedStream | None = None
        self._number = 0
        self._packet = 0
        self._first = b""
        """Frames that go with the next bytes of the stream."""
        self._packets: deque[bytes] = deque()
        """Records that are to go, each as one."""
        self._tail = b""
        """The start of a frame that is not whole."""
        self._changed: dict[SharedStream, None] = {}
        self._version = 1
        self._heard_at: float | None = None
        self._free_at = 0.0
        self._asked_at: float | None = None
        self._finished_at: float | None = None
        """When the owner of the stream finished it."""
        self._now = 0.0
        self.wake: Callable[[], None] = _nobody
        self.is_blocked = False
        self.stands = self.is_over = False
        self.failure: OSError | BadPacket | None = None
        self.waiting: list[Callable[[], None]] = []

    @property
    def load(self) -> int:
        """As `PooledSession.load`."""
        return (self._stream is not None) + len(self.waiting)

    @property
    def has_room(self) -> bool:
        """As `PooledSession.has_room`."""
        return not self.is_over and self._stream is None and not self.waiting

    def open(self, now: float) -> SharedStream | None:
        """As `PooledSession.open`."""
        if self.is_over or self._stream is not None:
            return None
        self._number += 1
        made = self._stream = SharedStream(self, self._number)
        self._first += frame(SYN, self._number)
        if self._heard_at is not None and now - self._heard_at >= QUIET and self._asked_at is None:
            self._first = frame(ASK, 0) + self._first
            self._asked_at = now
        return made

    def tell_waiting(self) -> None:
        """As `PooledSession.tell_waiting`."""
        waiting, self.waiting = self.waiting, []
        for call in waiting:
            call()

    # As `StreamSession`.

    @property
    def is_full(self) -> bool:
        """As `StreamSession.is_full`."""
        return self._stream is not None and self._stream.readable >= WINDOW

    def connected(self, now: float) -> None:
        """As `StreamSession.connected`."""
        self.stands = True
        self._now = self._free_at = now
        size = self._scheme.first_padding(self._random_bytes)
        self._packets.append(self._key + size.to_bytes(2, "big") + bytes(size))
        words = f"v={_VERSION}\nclient=tunflow\npadding-md5={self._scheme.digest}"
        self._first = frame(SETTINGS, 0, words.encode())
        self.tell_waiting()

    def receive_untrusted(self, data: Buffer, now: float) -> None:
        """As `StreamSession.receive_untrusted`. Raises BadPacket."""
        self._now = self._heard_at = now
        self._asked_at = None
        if self._finished_at is not None:
            self._finished_at = now
        view = memoryview(self._tail + bytes(data))
        at = 0
        while len(view) - at >= HEADER:
            command = view[at]
            if command > SERVER_SETTINGS:
                raise BadPacket(f"what answers is no AnyTLS server (a frame begins with {command:#04x})")
            end = at + HEADER + int.from_bytes(view[at + 5 : at + 7], "big")
            if len(view) < end:
                break
            self._take(command, int.from_bytes(view[at + 1 : at + 5], "big"), bytes(view[at + HEADER : end]))
            at = end
        self._tail = bytes(view[at:])

    def outgoing(self, now: float) -> bytes:
        """As `StreamSession.outgoing`."""
        self._now = now
        if self.is_over or not self.stands:
            return b""
        stream = self._stream
        if not self._packets and stream is not None and stream.queue and not self.is_blocked:
            # What opens a stream, with its target, is a packet of its own.
            size = min(LARGEST, len(stream.queue[0])) if self._first else LARGEST
            self._say(self._first + frame(PUSH, stream.number, stream.next_bytes(size)))
            self._first = b""
            self._changed[stream] = None
        return self._packets.popleft() if self._packets else b""

    def block(self, is_blocked: bool) -> None:
        """As `StreamSession.block`."""
        self.is_blocked = is_blocked
        if not is_blocked and self._stream is not None:
            self._changed[self._stream] = None

    def take_changed(self) -> Sequence[SharedStream]:
        """As `StreamSession.take_changed`."""
        changed, self._changed = self._changed, {}
        return list(changed)

    def end(self, why: OSError | BadPacket) -> None:
        """As `StreamSession.end`."""
        if self.is_over:
            return
        self.is_over = True
        self.failure = why
        stream, self._stream = self._stream, None
        if stream is not None:
            if self.stands and self._heard_at is None:
                stream.refuse(ProxyRefused(Refusal.CREDENTIALS, "it ends the session at once: check the password"))
            elif isinstance(why, ProxyRefused):
                stream.refuse(why)
            stream.over(reset=True)
            self._changed[stream] = None
        self.tell_waiting()

    def next_timeout(self) -> float | None:
        """As `StreamSession.next_timeout`."""
        if not self.stands or self.is_over:
            return None
        due = [] if self._asked_at is None else [self._asked_at + PATIENCE]
        if self._finished_at is not None:
            due.append(self._finished_at + LINGER)
        if self._stream is None:
            due.append(self._free_at + IDLE)
        return min(due, default=None)

    def handle_timeout(self, now: float) -> None:
        """As `StreamSession.handle_timeout`."""
        self._now = now
        due = self.next_timeout()
        if due is None or now < due:
            return
        if self._asked_at is not None and now >= self._asked_at + PATIENCE:
            self.end(BadPacket("the server gives no sign of life"))
        elif self._stream is not None and self._finished_at is not None:
            self._end_stream(self._stream)
        else:
            self.is_over = True

    # For its stream.

    def has_said(self, stream: SharedStream) -> None:
        """It has bytes to send, or its end."""
        if stream.finishing and self._finished_at is None and stream is self._stream:
            self._finished_at = self._now
        self.wake()

    def taken(self, stream: SharedStream, size: int) -> None:  # noqa: ARG002
        """Its owner took bytes: there may be room again."""
        self.wake()

    def leave(self, stream: SharedStream) -> None:
        """Its owner wants no more of it."""
        if stream is self._stream and not self.is_over:
            self._free()
            self._say(self._first + frame(FIN, stream.number))
            self._first = b""
            self.wake()

    # Frames.

    def _take(self, command: int, number: int, data: bytes) -> None:
        """Raises BadPacket."""
        stream = self._stream if self._stream is not None and number == self._stream.number else None
        match command:
            case _ if command == ALERT:
                text = data.decode(errors="replace")[:200]
                raise ProxyRefused(Refusal.FAILED, "".join(each if each.isprintable() else "?" for each in text))
            case _ if command == PADDING:
                self._server.scheme = padding.parse_untrusted(data)
            case _ if command == SERVER_SETTINGS:
                lines = dict(line.partition(b"=")[::2] for line in data.split(b"\n"))
                self._version = 2 if lines.get(b"v", b"1").strip() not in {b"", b"0", b"1"} else 1
            case _ if command == ASK:
                self._say(frame(ANSWER, number))
            case _ if command == PUSH and stream is not None:
                if data:
                    stream.heard(data)
            case _ if command == SYN_ACK and stream is not None and data:
                text = data.decode(errors="replace")[:200]
                stream.refuse(
                    ProxyRefused(Refusal.FAILED, "".join(each if each.isprintable() else "?" for each in text))
                )
                self._end_stream(stream)
            case _ if command == FIN and stream is not None:
                stream.over(reset=False)
                self._free()
        if stream is not None:
            self._changed[stream] = None

    def _end_stream(self, stream: SharedStream) -> None:
        """End a stream of which nothing more is expected."""
        self._say(frame(FIN, stream.number))
        stream.over(reset=False)
        self._changed[stream] = None
        self._free()

    def _free(self) -> None:
        """The next stream may come; a server of version 1 gives no sign of life, so there none does."""
        self._stream = self._finished_at = None
        self._free_at = self._now
        if self._version < _VERSION:
            self.is_over = True

    def _say(self, frames: bytes) -> None:
        """Have frames go as the next packet, cut and padded as the scheme has it."""
        self._packet += 1
        sizes = self._scheme.sizes(self._packet, self._random_bytes)
        self._packets.extend(padding.pieces(frames, sizes, waste))


def _nobody() -> None:
    """Nobody carries it yet."""


class TargetFirst(Handshake):
    """Says where a stream goes, and is out of the way then: the server answers by frames of the session."""

    __slots__ = ()

    def __init__(self, target: Endpoint) -> None:
        super().__init__([address.encode(target)])
        self._stands()

    def _hear_untrusted(self, data: memoryview) -> int:  # noqa: ARG002
        return 0  # never asked: it stands
