"""Servers of smux, yamux and mux.cool, as simple as can be: all that was heard is read again each time."""

from __future__ import annotations

from abc import ABC, abstractmethod

from tunflow.protocols.mux import cool, smux, yamux


class Twin(ABC):
    """A session of a client's and what its server reads of it, by each stream's number."""

    def __init__(self, session) -> None:
        self.session = session
        self.said = b""
        self.now = 0.0
        self.session.connected(0.0)

    def turn(self) -> None:
        while record := self.session.outgoing(self.now):
            self.said += record

    def hear(self, data: bytes, step: int = 0) -> None:
        for at in range(0, len(data), step or max(1, len(data))):
            self.session.receive_untrusted(data[at : at + (step or len(data))], self.now)
        self.turn()

    @abstractmethod
    def frames(self):
        """(kind, number, data) of each."""

    def of(self, number: int) -> bytes:
        return b"".join(data for kind, each, data in self.frames() if each == number and kind == "data")

    def has_ended(self, number: int) -> bool:
        return any(each == number and kind in {"end", "reset"} for kind, each, _ in self.frames())

    @abstractmethod
    def data(self, number: int, data: bytes) -> bytes:
        """The server's frame."""

    @abstractmethod
    def end(self, number: int) -> bytes:
        """The server's frame that ends one."""


class SmuxTwin(Twin):
    def frames(self):
        data, found = self.said, []
        while data:
            size = int.from_bytes(data[2:4], "little")
            assert data[0] == 1
            kind = {smux.SYN: "new", smux.FIN: "end", smux.PUSH: "data", smux.NOTHING: "nothing"}[data[1]]
            found.append((kind, int.from_bytes(data[4:8], "little"), data[8 : 8 + size]))
            assert len(data) >= 8 + size
            data = data[8 + size :]
        return found

    def data(self, number: int, data: bytes) -> bytes:
        return b"\1\2" + len(data).to_bytes(2, "little") + number.to_bytes(4, "little") + data

    def end(self, number: int) -> bytes:
        return b"\1\1\0\0" + number.to_bytes(4, "little")


class YamuxTwin(Twin):
    def frames(self):
        data, found = self.said, []
        while data:
            kind, flags, length = data[1], data[3], int.from_bytes(data[8:12], "big")
            number, size = int.from_bytes(data[4:8], "big"), length if kind == yamux.DATA else 0
            assert data[0] == data[2] == 0
            if flags & yamux.RST:
                found.append(("reset", number, b""))
            elif flags & yamux.SYN and kind != yamux.PING:
                found.append(("new", number, b""))
            if kind == yamux.DATA:
                found.append(("data", number, data[12 : 12 + size]))
            elif kind == yamux.WINDOW_UPDATE:
                found.append(("window", number, length.to_bytes(4, "big")))
            elif kind == yamux.PING:
                found.append(("answer" if flags & yamux.ACK else "ask", number, length.to_bytes(4, "big")))
            if flags & yamux.FIN:
                found.append(("end", number, b""))
            data = data[12 + size :]
        return found

    def window(self, number: int) -> int:
        """Bytes that the server was allowed to send so far."""
        return yamux.WINDOW + sum(
            int.from_bytes(data, "big") for kind, each, data in self.frames() if each == number and kind == "window"
        )

    def data(self, number: int, data: bytes) -> bytes:
        return yamux.frame(yamux.DATA, 0, number, len(data), data)

    def end(self, number: int) -> bytes:
        return yamux.frame(yamux.DATA, yamux.FIN, number, 0)


class CoolTwin(Twin):
    def frames(self):
        data, found = self.said, []
        while data:
            size = int.from_bytes(data[:2], "big")
            what, data = data[2 : 2 + size], data[2 + size :]
            number, payload = int.from_bytes(what[:2], "big"), b""
            if what[3] & cool.DATA:
                size = int.from_bytes(data[:2], "big")
                payload, data = data[2 : 2 + size], data[2 + size :]
                assert len(payload) == size
            if what[2] == cool.NEW:
                found.append(("new", number, what[4:]))
            if payload:
                found.append(("data", number, payload))
            if what[2] == cool.END:
                found.append(("reset" if what[3] & cool.ERROR else "end", number, b""))
        return found

    def data(self, number: int, data: bytes) -> bytes:
        return cool.frame(number, cool.KEEP, data=data)

    def end(self, number: int) -> bytes:
        return cool.frame(number, cool.END)
