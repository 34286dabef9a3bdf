"""XUDP: datagrams to and from anybody in one stream of VLESS or VMess, by frames of mux.cool.

Read first: xtls.github.io, "Mux.Cool protocol"; Xray-core, common/xudp. A frame: the size of what follows, a session
(0), a status (1 new, 2 keep, 3 end, 4 keep alive), options (1: data follows), and with UDP the network (2), port and
address. Data is its size and the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunflow.endpoint import Buffer, Endpoint
from tunflow.errors import BadPacket, LocalError
from tunflow.protocols import address
from tunflow.protocols.clash_entry import ClashEntry
from tunflow.protocols.codec import Datagram
from tunflow.protocols.link import printable

COMMAND = 3
"""Of a request whose stream has such frames; no address stands in it."""
LONGEST = 8192
"""Bytes of a datagram: servers read into pieces of this size."""

_NEW, _KEEP, _END, _ALIVE = 1, 2, 3, 4
_DATA = 1
_UDP = 2
_KINDS = {address.IPV4: b"\x01", address.NAME: b"\x02", address.IPV6: b"\x03"}
_SOCKS_KINDS = {1: b"\x01", 2: b"\x03", 3: b"\x04"}


def port_and_address(target: Endpoint) -> bytes:
    """The target as VLESS, VMess and mux.cool write it. Raises LocalError for a name that cannot be carried."""
    socks = address.encode(target)
    return socks[-2:] + _KINDS[socks[0]] + socks[1:-2]


def parse_port_and_address_untrusted(data: memoryview) -> tuple[Endpoint, int] | None:
    """What `port_and_address` made, at the front, and its size; None while it is not whole. Raises BadPacket."""
    if len(data) < 4:
        return None
    if data[2] not in _SOCKS_KINDS:
        raise BadPacket(f"address type {data[2]} is none of 1, 2 and 3")
    # In SOCKS's order the port comes last, so the address may be told to be whole a little later, never earlier.
    size = {1: 4, 2: 1 + data[3], 3: 16}[data[2]]
    if len(data) < 3 + size:
        return None
    parsed = address.parse_untrusted(_SOCKS_KINDS[data[2]] + bytes(data[3 : 3 + size]) + bytes(data[:2]))
    assert parsed is not None
    return parsed[0], 3 + size


def is_xudp(encoding: str | None) -> bool:
    """Return True if a link's `packetEncoding` (Clash: `packet-encoding`) asks for it. Raises LocalError."""
    if encoding not in {None, "", "none", "xudp"}:
        raise LocalError(f"packetEncoding={printable(encoding or '')} is not supported; none and xudp are")
    return encoding == "xudp"


def is_xudp_of_clash(entry: ClashEntry) -> bool:
    """Return True if an entry asks for it, by any of its keys. Raises LocalError."""
    if entry.flag("packet-addr"):
        raise LocalError("packet-addr is not supported; xudp and packet-encoding xudp are")
    return entry.flag("xudp") or is_xudp(entry.text("packet-encoding"))


class XUDPFrames:
    """One end of such a stream; a server's `answers` are in the client's session. As `StreamDatagramCodec`."""

    __slots__ = ("_began", "_last")

    def __init__(self, *, answers: bool = False) -> None:
        self._began = answers
        self._last: Endpoint | None = None
        """Whom the last frame of the other side was about."""

    def seal(self, peer: Endpoint, payload: Buffer) -> Sequence[Buffer]:
        """As `StreamDatagramCodec.seal`."""
        if not 0 < len(payload) <= LONGEST:
            raise BadPacket(f"XUDP takes datagrams of 1 to {LONGEST} bytes")
        status, self._began = (_KEEP if self._began else _NEW), True
        what = bytes((0, 0, status, _DATA, _UDP)) + port_and_address(peer)
        return len(what).to_bytes(2, "big") + what + len(payload).to_bytes(2, "big"), payload

    def open_untrusted(self, data: memoryview) -> tuple[list[Datagram], int]:
        """As `StreamDatagramCodec.open_untrusted`."""
        datagrams: list[Datagram] = []
        at = 0
        while len(data) - at >= 2:
            start = at + 2
            end = start + (data[at] << 8 | data[at + 1])
            if end - start < 4:
                raise BadPacket("a frame of mux.cool is too short")
            if len(data) < end:
                break
            what = data[start:end]
            payload: Buffer = b""
            if what[3] & _DATA:
                if len(data) < end + 2:
                    break
                size = data[end] << 8 | data[end + 1]
                if len(data) < end + 2 + size:
                    break
                payload = bytes(data[end + 2 : end + 2 + size])
                end += 2 + size
            if (peer := self._peer_untrusted(what)) is not None and payload:
                datagrams.append(Datagram(peer, payload))
            at = end
        return datagrams, at

    def _peer_untrusted(self, what: memoryview) -> Endpoint | None:
        """Whom a frame is about; None for one that carries nothing. Raises BadPacket."""
        status = what[2]
        if status == _ALIVE:
            return None
        if status not in {_NEW, _KEEP}:
            raise BadPacket("the other end of mux.cool ends the session" if status == _END else "no frame of mux.cool")
        if status == _NEW and (len(what) < 5 or what[4] != _UDP):
            raise BadPacket("a session of mux.cool that is no UDP")
        if len(what) > 4 and what[4] == _UDP:
            parsed = parse_port_and_address_untrusted(what[5:])
            if parsed is None:
                raise BadPacket("a frame of mux.cool ends inside its address")
            self._last = parsed[0]
        return self._last
