"""The part of a system-wide tunnel that keeps root's rights, and how the other part asks it: host settings, no more.

The process that speaks with the network lets go of root (`privileges`); `/etc/resolv.conf`, the sysctls and the
record of what was changed belong to root. So it is the child of one that never reads a packet and answers three
requests over a socket pair: apply these settings (checked like any others), undo, and open a file, if it is one of
those that were named beforehand. The TUN device is made here and handed over as a descriptor, and so is a file: when
the other process dies the device stays, and the routes into it hold what the host sends (`host.supervisor`).

Messages both ways: four bytes of length, then JSON. `ready`, `lost`, `leave` and `remember` have no answer.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

from tunflow.errors import BadPacket, LocalError
from tunflow.host.fd import from_fd
from tunflow.host.network.settings import HostSettings
from tunflow.host.network.settings_text import from_json_untrusted, to_json
from tunflow.host.network.system import SystemNetwork, open_network
from tunflow.host.rights.open_file import open_file
from tunflow.host.tun import TunDevice
from tunflow.single_values import json_value

LARGEST = 16 << 20
"""Bytes of a message: settings with all networks of some countries have a few hundred thousand."""
_LENGTH = struct.Struct("=I")


class SupervisorGone(LocalError):
    """The process that changes the host is not there any more, and whoever asked it is about to end, too."""

    def __init__(self) -> None:
        super().__init__(
            "the supervisor, the process that changes the host's settings, is gone: the tunnel ends with it, and a "
            "kill switch stays"
        )


class HelperNetwork:
    """A `SystemNetwork` whose work the helper at the other end of a socket does."""

    def __init__(self, helper: socket.socket) -> None:
        self.device: TunDevice | None = None
        self.settings: HostSettings | None = None
        """What is in force."""
        self._stays_closed = False
        self._socket = helper

    def apply(self, settings: HostSettings) -> None:
        """See `HostNetwork.apply`. Raises LocalError."""
        fd = self._ask({"apply": to_json(settings)})
        if fd is not None:
            self.device = from_fd(fd)
            self.device.name = settings.device
        self.settings = settings

    def undo(self, *, keep_kill_switch: bool = False) -> None:
        """See `HostNetwork.undo`. Raises LocalError."""
        if self.device is not None:
            self.device.close()
            self.device = None
        if not self._stays_closed:
            self.settings = None
        self._ask({"undo": keep_kill_switch})

    def stay(self, *, closed: bool) -> None:
        """While `closed`, `undo` changes nothing: what was applied last stays in force. Raises LocalError."""
        self._ask({"stay": closed})
        self._stays_closed = closed

    def open_file(self, path: Path, append: bool) -> int:
        """See `open_file`; with root's rights where ours are not enough. Raises OSError, LocalError."""
        try:
            return open_file(path, append)
        except PermissionError:
            fd = self._ask({"open": str(path), "append": append})
        if fd is None:
            raise LocalError(f"cannot open {path}: no descriptor came")
        return fd

    def tell(self, message: dict[str, Any]) -> None:
        """Tell the helper what it does not answer; a helper that is gone is told nothing."""
        with suppress(OSError):
            _send(self._socket, message)

    def lose(self, why: str, *, unreached: bool) -> None:
        """The tunnel is over, and another process is to make it anew; the host stays as it is till then.

        `unreached`: it never was connected, so that this is no failure of its own.
        """
        self.tell({"lost": why, "unreached": unreached})
        self._socket.close()

    def leave(self, *, keep: bool, stopped: bool, failure: str | None, unreached: bool) -> None:
        """The tunnel is over: its settings are undone unless they are to be kept for another process.

        `stopped`: because somebody wanted that. Else `failure` says why; `unreached`: because no server was.
        """
        if self.device is not None:
            self.device.close()
            self.device = None
        self.tell({"leave": keep, "stopped": stopped, "failure": failure, "unreached": unreached})
        self._socket.close()

    def _ask(self, request: dict[str, Any]) -> int | None:
        """The descriptor that came with the answer, if one did. Raises LocalError."""
        try:
            _send(self._socket, request)
            answer, fd = receive(self._socket)
        except (OSError, EOFError, BadPacket):
            raise SupervisorGone from None
        if answer.get("error") is not None:
            raise LocalError(str(answer["error"]))
        return fd


class HelperService:
    """What answers the requests, with root's rights. `files` may be opened: to read, or (True) to append."""

    def __init__(self, state: Path, files: frozenset[tuple[Path, bool]] = frozenset()) -> None:
        """`state` is the file to record changes in."""
        self.is_holding = False
        """True if what is in force stays, though a process that is not up yet wants it undone."""
        self._files = files
        self._network: SystemNetwork = open_network(state)
        self._state = state
        self._owes_device = False
        self._has_applied = False
        self._stays_closed = False
        """True if the process wants nothing undone, and says when that ends."""

    @property
    def settings(self) -> HostSettings | None:
        """What is in force."""
        return self._network.settings

    def hold(self) -> None:
        """The process that asked is gone: keep what it had, for the next."""
        self.is_holding = True
        self._keep_device()
        self._has_applied = self._stays_closed = False

    def _keep_device(self) -> None:
        """Who had it has closed it, and is to get it again. One that is gone is made anew."""
        device = self._network.device
        if device is not None and not _is_there(device.name):
            device.close()
            self._network.device = None
        self._owes_device = self._network.device is not None

    def is_up(self) -> None:
        """The next process is up. Raises LocalError."""
        if self.is_holding and not self._has_applied and self._network.settings is not None:
            self.undo()  # the one before was connected, and this one need not be
        self.is_holding = False

    def undo(self, *, keep_kill_switch: bool = False) -> None:
        """Leave the host as it was found. Raises LocalError."""
        self._network.undo(keep_kill_switch=keep_kill_switch)
        self._network = open_network(self._state)
        self._owes_device = False

    def close_copy(self) -> None:
        """In a process that was forked: give back what is the parent's, whose device must go when that closes it."""
        if self._network.device is not None:
            self._network.device.close()

    def answer(self, asking: socket.socket, request: dict[str, Any]) -> None:
        """Do what was asked, and say how it went. Raises OSError when nobody listens any more."""
        fd = None
        answer: dict[str, Any] = {}
        try:
            fd = self._open(request) if "open" in request else self._do(request)
        except (LocalError, BadPacket) as error:
            answer = {"error": str(error)}
        except OSError as error:
            answer = {"error": f"the host's settings cannot be changed: {error.strerror or error}"}
        try:
            _send(asking, answer, fd)
        finally:
            if fd is not None and "open" in request:
                os.close(fd)

    def _do(self, request: dict[str, Any]) -> int | None:
        """The descriptor of a device that was made."""
        if "apply" in request:
            before = self._network.device
            self._network.apply(from_json_untrusted(str(request["apply"])))
            self._has_applied = True
            device = self._network.device
            if device is not None and (device is not before or self._owes_device):
                self._owes_device = False
                return device.fileno()
        elif "undo" in request:
            if self.is_holding or self._stays_closed:
                self._keep_device()
            else:
                self.undo(keep_kill_switch=request["undo"] is True)
        elif "stay" in request:
            self._stays_closed = request["stay"] is True
        else:
            raise BadPacket("neither apply, nor undo, nor stay, nor open")
        return None

    def _open(self, request: dict[str, Any]) -> int:
        """Raises LocalError."""
        path, append = Path(str(request["open"])), request.get("append") is True
        if (path, append) not in self._files:
            raise LocalError(f"cannot open {path}: root's rights, which that takes, are gone: use tunflow up --replace")
        try:
            return open_file(path, append)
        except OSError as error:
            raise LocalError(f"cannot open {path}: {error.strerror}") from None


def _is_there(device: str) -> bool:
    try:
        socket.if_nametoindex(device)
    except OSError:
        return False
    return True


def _send(to: socket.socket, message: dict[str, Any], fd: int | None = None) -> None:
    data = json.dumps(message).encode()
    if fd is None:
        to.sendall(_LENGTH.pack(len(data)) + data)
    else:
        socket.send_fds(to, [_LENGTH.pack(len(data))], [fd])
        to.sendall(data)


def receive(source: socket.socket) -> tuple[dict[str, Any], int | None]:
    """A message, and the descriptor that came with it. Raises OSError, EOFError or BadPacket."""
    head, fds, _, _ = socket.recv_fds(source, _LENGTH.size, 1)
    while 0 < len(head) < _LENGTH.size:
        head += source.recv(_LENGTH.size - len(head))
    if not head:
        raise EOFError("it closed the connection")
    (size,) = _LENGTH.unpack(head)
    if size > LARGEST:
        raise BadPacket(f"a message of {size} bytes")
    data = bytearray()
    while len(data) < size:
        part = source.recv(min(65536, size - len(data)))
        if not part:
            raise EOFError("it closed the connection")
        data += part
    try:
        message = json_value(data)
    except ValueError:
        raise BadPacket("not JSON") from None
    if not isinstance(message, dict):
        raise BadPacket("not an object")
    return message, fds[0] if fds else None
