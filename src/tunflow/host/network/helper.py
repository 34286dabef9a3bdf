"""The part of a system-wide tunnel that keeps root's rights: a process that applies and undoes host settings, no more.

The process that speaks with the network lets go of root (`privileges`); `/etc/resolv.conf`, the sysctls and the
record of what was changed belong to root. So before that it forks this one, which never reads a packet and answers
three requests over a socket pair: apply these settings (checked like any others), undo, and open a file, if it is one
of those that were named beforehand. The TUN device it makes is handed over as a descriptor, and so is a file.

When the other process dies without a word, what it had is undone here at once, so that a crash leaves a host that
works; but with a kill switch everything stays closed, until `down` or the next `up`.

Messages both ways: four bytes of length, then JSON.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from tunflow.errors import BadPacket, LocalError
from tunflow.host.fd import from_fd
from tunflow.host.network.settings import HostSettings
from tunflow.host.network.settings_text import from_json_untrusted, to_json
from tunflow.host.network.system import Network, open_network
from tunflow.host.rights.open_file import open_file
from tunflow.host.tun import TunDevice

LARGEST = 16 << 20
"""Bytes of a message: settings with all networks of some countries have a few hundred thousand."""
_LENGTH = struct.Struct("=I")


class HelperNetwork:
    """A `Network` whose work the helper does. Forks it: call this before there are threads or an event loop."""

    def __init__(
        self, state: Path, at_end: Callable[[], None], files: frozenset[tuple[Path, bool]] = frozenset()
    ) -> None:
        """`state` is the file to record changes in; `at_end` is called with root's rights when all is over.

        `files` are those that may be opened with root's rights: to read, or (True) to append.
        """
        self.device: TunDevice | None = None
        self.settings: HostSettings | None = None
        """What is in force."""
        self._socket, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            self._socket.close()
            _Helper(theirs, state, files).run(at_end)
        theirs.close()

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
        self.settings = None
        self._ask({"undo": keep_kill_switch})

    def open_file(self, path: Path, append: bool) -> int:
        """See `open_file`; with root's rights where ours are not enough. Raises OSError, LocalError."""
        try:
            return open_file(path, append)
        except PermissionError:
            fd = self._ask({"open": str(path), "append": append})
        if fd is None:
            raise LocalError(f"cannot open {path}: no descriptor came")
        return fd

    def leave(self, *, keep: bool) -> None:
        """The tunnel is over: let the helper end, with what is in force left as it is where it is to be kept."""
        if self.device is not None:
            self.device.close()
            self.device = None
        with suppress(OSError):
            _send(self._socket, {"leave": keep})
        self._socket.close()
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def _ask(self, request: dict[str, Any]) -> int | None:
        """The descriptor that came with the answer, if one did. Raises LocalError."""
        try:
            _send(self._socket, request)
            answer, fd = _receive(self._socket)
        except (OSError, EOFError, BadPacket) as error:
            raise LocalError(f"the process that changes the host's settings is gone: {error}") from None
        if answer.get("error") is not None:
            raise LocalError(str(answer["error"]))
        return fd


class _Helper:
    """The forked process."""

    def __init__(self, asked: socket.socket, state: Path, files: frozenset[tuple[Path, bool]]) -> None:
        self._socket = asked
        self._files = files
        self._network: Network = open_network(state)
        self._state = state

    def run(self, at_end: Callable[[], None]) -> NoReturn:
        """Serve until the other side is gone."""
        status = 1
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # the other process decides when it is over
            if not self._serve():
                self._abandoned()
            at_end()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def _serve(self) -> bool:
        """Answer requests; whether the other side took its leave."""
        while True:
            try:
                request, _ = _receive(self._socket)
            except (OSError, EOFError, BadPacket):
                return False
            if "leave" in request:
                if not request["leave"]:
                    self._network.undo()
                return True
            fd = None
            answer: dict[str, Any] = {}
            try:
                fd = self._open(request) if "open" in request else self._do(request)
            except (LocalError, BadPacket) as error:
                answer = {"error": str(error)}
            except OSError as error:
                answer = {"error": f"the host's settings cannot be changed: {error.strerror or error}"}
            try:
                _send(self._socket, answer, fd)
            except OSError:
                return False
            if fd is not None and "open" in request:
                os.close(fd)

    def _do(self, request: dict[str, Any]) -> int | None:
        """The descriptor of a device that was made."""
        before = self._network.device
        if "apply" in request:
            self._network.apply(from_json_untrusted(str(request["apply"])))
        elif "undo" in request:
            self._network.undo(keep_kill_switch=request["undo"] is True)
            self._network = open_network(self._state)
        else:
            raise BadPacket("neither apply, nor undo, nor open")
        device = self._network.device
        return device.fileno() if device is not None and device is not before else None

    def _open(self, request: dict[str, Any]) -> int:
        """Raises LocalError."""
        path, append = Path(str(request["open"])), request.get("append") is True
        if (path, append) not in self._files:
            raise LocalError(f"cannot open {path}: root's rights, which that takes, are gone: use tunflow up --replace")
        try:
            return open_file(path, append)
        except OSError as error:
            raise LocalError(f"cannot open {path}: {error.strerror}") from None

    def _abandoned(self) -> None:
        """The other process died: undo what it had, but never open what a kill switch holds closed."""
        settings = self._network.settings
        if settings is not None and not settings.kill_switch:
            self._network.undo()


def _send(to: socket.socket, message: dict[str, Any], fd: int | None = None) -> None:
    data = json.dumps(message).encode()
    if fd is None:
        to.sendall(_LENGTH.pack(len(data)) + data)
    else:
        socket.send_fds(to, [_LENGTH.pack(len(data))], [fd])
        to.sendall(data)


def _receive(source: socket.socket) -> tuple[dict[str, Any], int | None]:
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
        message = json.loads(data)
    except (ValueError, RecursionError):
        raise BadPacket("not JSON") from None
    if not isinstance(message, dict):
        raise BadPacket("not an object")
    return message, fds[0] if fds else None
