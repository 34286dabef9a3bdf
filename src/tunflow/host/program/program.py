"""Starts the captured program and stands for it: its TUN, its signals, its end.

The program is our own child in our own process group, on the same terminal, with the same working directory,
environment, umask, limits and inherited descriptors; what differs is its network and a few mounts (see `namespace`,
`netconfig`, `mounts`). Order of use:

1. `Program.start` early: in the main thread, before any other thread, and before limits are raised for ourselves;
2. wrap `tun_fd` in a device and make the driver ready; a signal now ends us as any process, and the child with us;
3. `release` before other threads start; from here on signals are the program's;
4. wait until `exit_fd` is readable, then `exit_result.leave(program.result())`.

When tunflow dies without all this (SIGKILL), the TUN dies with it: the program runs on without a network, as do
children that outlive the program.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from tunflow.errors import LocalError
from tunflow.host.program import child, command
from tunflow.host.program.exit_result import ExitResult
from tunflow.host.program.private_network import PrivateNetwork
from tunflow.host.program.signals import SignalRelay

_MESSAGE_SIZE = 65536


class Program:
    """A program behind a TUN, started and not yet executed until `release`; a context manager that closes it."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        """The program's process id, our child's."""
        self.tun_fd = -1
        """The TUN's descriptor, for `host.fd.from_fd(tun_fd, mtu)`; the caller's to close."""
        self.mtu = 0
        """The TUN's MTU in bytes."""
        self.socket_diag_fd = -1
        """Asks about sockets in the program's network, for `SocketDiag.from_fd`; the caller's to close."""
        self.exit_fd = os.eventfd(0, os.EFD_CLOEXEC)
        """Readable once the program has ended."""
        self._connection = connection
        self._released = False
        self._result: ExitResult | None = None
        self._ended = threading.Event()

    @classmethod
    def start(cls, argv: Sequence[str], *, network: PrivateNetwork, nameserver: str | None) -> Program:
        """Make the namespaces and the TUN for the command `argv`, and wait there.

        `nameserver` is the address that the program's resolver asks; None leaves resolv.conf as it is. Raises
        LocalError, with exit status 127 where there is no such command and 126 where it cannot be executed.
        """
        path = command.find(argv[0])
        ignores = signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # an ignored SIGCHLD would let the exit status go unseen
        launch = child.Launch(path, list(argv), network, nameserver, ignores)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # No handler of ours may run in the child, so nothing is delivered until it has reset them.
        mask = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
        pid = os.fork()
        if pid == 0:
            ours.close()
            child.run(launch, theirs, mask)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
        program = cls(pid, ours)
        try:
            program._receive_tun()
        except BaseException:
            program.close()
            raise
        return program

    def release(self) -> None:
        """Let the child become the program and hand it our signals. Main thread only. Raises LocalError."""
        self._released = True
        SignalRelay(self.pid, self._end).start()
        with suppress(BrokenPipeError):  # a signal ended the child meanwhile: `result` will say so
            self._connection.send(child.GO)
        message = self._connection.recv(_MESSAGE_SIZE)
        self._connection.close()
        if message:
            self._ended.wait()
            self._raise_from(message, command.CommandNotExecutable)

    def result(self) -> ExitResult:
        """How the program ended; waits for it."""
        self._ended.wait()
        assert self._result is not None
        return self._result

    def close(self) -> None:
        """Give back what is ours. A child that was not released ends; a program that runs keeps running."""
        self._connection.close()
        if not self._released:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if not self._released or self._ended.is_set():  # else the relay's thread still means to write to it
            os.close(self.exit_fd)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _receive_tun(self) -> None:
        message, fds, _, _ = socket.recv_fds(self._connection, _MESSAGE_SIZE, 2)
        if message[:1] != child.READY:
            self._raise_from(message, LocalError)
        self.tun_fd, self.socket_diag_fd = fds
        self.mtu = int(message[1:])

    def _raise_from(self, message: bytes, kind: type[LocalError]) -> NoReturn:
        text = message[1:].decode(errors="replace")
        if message[:1] == child.BROKEN:
            raise RuntimeError(f"in the child: {text}")
        raise kind(text or "the program's process ended before the program could start")

    def _end(self, result: ExitResult) -> None:
        self._result = result
        os.eventfd_write(self.exit_fd, 1)
        self._ended.set()  # last: it allows `close`
