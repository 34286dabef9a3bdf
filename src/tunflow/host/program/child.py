"""What the child does between fork and exec: namespaces, TUN, mounts, then it becomes the program.

It speaks with the parent over a socket pair, in messages of one byte of kind and then text:

    child: READY with two descriptors (SCM_RIGHTS)        or FAILED with a line for the user   or BROKEN with a bug
    parent: GO
    child: nothing, exec closes the socket                or FAILED

The descriptors are the TUN's and one to ask about sockets in the program's network (`socket_diag`).

A parent that goes away before GO ends the child. The program keeps no descriptor of the TUN: when tunflow goes, even by
SIGKILL, the device goes with it and the program is left without any network.
"""

from __future__ import annotations

import os
import signal
import socket
import traceback
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from tunflow.errors import LocalError
from tunflow.host.netlink import socket_diag
from tunflow.host.program import command, mounts, namespace, netconfig, sysfs
from tunflow.host.program.private_network import OFFLOAD_MTU, PLAIN_MTU, PrivateNetwork
from tunflow.host.tun import Offload, TunDevice

READY = b"R"
FAILED = b"F"
BROKEN = b"B"
GO = b"G"

_PYTHON_IGNORES = (signal.SIGPIPE, signal.SIGXFSZ)
"""What Python's start sets to "ignore", which exec would hand on. Whether it was ignored before nobody can tell."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What to run: the program at `path` with `argv`, and the network around it."""

    path: str
    argv: list[str]
    network: PrivateNetwork
    nameserver: str | None
    ignores_child_signal: bool
    """True if SIGCHLD was ignored when tunflow started; the program inherits that."""


def run(launch: Launch, parent: socket.socket, mask: set[int]) -> NoReturn:
    """Be the child. `mask` is the signal mask to run with; until then every signal is blocked."""
    try:
        _reset_signals(launch.ignores_child_signal)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _prepare(launch, parent)
        if parent.recv(1) == GO:
            command.execute(launch.path, launch.argv)
    except LocalError as error:
        _tell(parent, FAILED, str(error))
    except OSError as error:
        _tell(parent, FAILED, f"{error.filename or launch.path}: {error.strerror}")
    except BaseException:
        _tell(parent, BROKEN, traceback.format_exc())
    finally:
        os._exit(1)


def _prepare(launch: Launch, parent: socket.socket) -> None:
    """Make the namespaces and hand the TUN to the parent. Raises LocalError or OSError."""
    has_user_namespace = namespace.enter()
    mounts.detach()
    tun = TunDevice.open(launch.network.device)
    mtu = OFFLOAD_MTU if Offload.TSO4 in tun.offload else PLAIN_MTU
    netconfig.configure(launch.network, mtu)
    netconfig.tune()
    sysfs.renew()
    if launch.nameserver is not None:
        mounts.point_resolver(launch.nameserver)
    if has_user_namespace:
        mounts.own_ssh_snippets()
    with socket_diag.open_diag() as diag:
        socket.send_fds(parent, [READY + str(mtu).encode()], [tun.fileno(), diag.fileno()])
    tun.close()


def _reset_signals(ignores_child_signal: bool) -> None:
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    for number in _PYTHON_IGNORES:
        signal.signal(number, signal.SIG_DFL)
    if ignores_child_signal:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def _tell(parent: socket.socket, kind: bytes, text: str) -> None:
    with suppress(OSError):  # the parent is gone: nobody is left to be told
        parent.send(kind + text.encode(errors="replace"))
