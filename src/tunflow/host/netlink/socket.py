"""The socket of netlink: requests, many in one system call, questions with one answer, and dumps.

Written by hand because the whole need is a handful of messages (docs/adr/0005 and 0020). pyroute2 speaks all of
netlink, but importing it costs more time and memory than everything else that runs before a tunnel is up. The older
ioctls would need two families of C structs whose layout depends on the word size; netlink has one format for both
families, and nothing else adds ten thousand routes in a blink.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple, Self

from tunflow.host.netlink.messages import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    message,
    messages,
)

_ANSWER_SIZE = 65536
_BATCH = 128
"""Requests in one system call: their error messages have to fit the socket's receive buffer."""
_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_GET_STRICT_CHK = 12
_TRIES = 20


class NetlinkRequest(NamedTuple):
    """One message to the kernel: its type, its flags beside REQUEST and ACK, its body, and in words what it tries."""

    kind: int
    flags: int
    body: bytes
    tried: str


def open_socket(protocol: int, groups: int = 0) -> socket.socket:
    """Return a netlink socket of the calling thread's network namespace, which hears of `groups`. Raises OSError."""
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    if groups:
        try:
            made.bind((0, groups))
        except OSError:
            made.close()
            raise
    return made


class NetlinkSocket:
    """A socket of one netlink protocol for the network namespace of the thread that makes it; a context manager."""

    def __init__(self, protocol: int) -> None:
        """`protocol` is one of netlink's, as `socket.NETLINK_ROUTE`. Raises OSError."""
        self._socket = open_socket(protocol)
        self._sequence = 0
        for option in (_NETLINK_CAP_ACK, _NETLINK_GET_STRICT_CHK):
            with contextlib.suppress(OSError):  # Linux before 4.3 and 4.20: longer errors, dumps of more than asked for
                self._socket.setsockopt(_SOL_NETLINK, option, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back."""
        self._socket.close()

    def send(self, requests: Sequence[NetlinkRequest], ignored: frozenset[int] = frozenset()) -> None:
        """Have the kernel carry out `requests` in order. Raises OSError for the first that failed.

        Those behind a failed one in the same system call are carried out all the same. Error numbers in `ignored` are
        none: what was asked for is so already.
        """
        for start in range(0, len(requests), _BATCH):
            self.send_batch(requests[start : start + _BATCH], ignored)

    def send_batch(self, requests: Sequence[NetlinkRequest], ignored: frozenset[int]) -> None:
        """As `send`, of no more requests than one system call takes."""
        first = self._sequence + 1
        last = self._sequence = self._sequence + len(requests)
        parts: list[bytes] = []
        for number, (kind, flags, body, _) in enumerate(requests, first):
            asked = NLM_F_REQUEST if number != last else NLM_F_REQUEST | NLM_F_ACK  # errors are told without asking
            parts.append(message(kind, flags | asked, number, body))
        self._socket.send(b"".join(parts))
        failed: OSError | None = None
        number = 0
        while number != last:
            for kind, flags, number, body in messages(self._socket.recv(_ANSWER_SIZE)):
                assert kind == NLMSG_ERROR, (kind, flags)  # requests that are no dumps are answered with nothing else
                (code,) = struct.unpack_from("=i", body)
                if code and failed is None and -code not in ignored:
                    failed = OSError(-code, os.strerror(-code), requests[number - first].tried)
        if failed is not None:
            raise failed

    def ask(self, kind: int, body: bytes) -> bytes:
        """Return the body of the one object that a GET request of `kind` is about. Raises OSError."""
        self._sequence += 1
        self._socket.send(message(kind, NLM_F_REQUEST, self._sequence, body))
        while True:
            for answer, _, sequence, content in messages(self._socket.recv(_ANSWER_SIZE)):
                if sequence == self._sequence:
                    if answer == NLMSG_ERROR:
                        (code,) = struct.unpack_from("=i", content)
                        raise OSError(-code, os.strerror(-code))
                    return content

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """Return the bodies of all objects that a GET request of `kind` lists; consistent. Raises OSError."""
        for _ in range(_TRIES):
            found = self._dump_once(kind, body)
            if found is not None:
                return found
        raise OSError(errno.EAGAIN, "the list changes faster than it can be read", f"netlink dump {kind}")

    def _dump_once(self, kind: int, body: bytes) -> list[bytes] | None:
        self._sequence += 1
        flags = NLM_F_REQUEST | NLM_F_DUMP
        self._socket.send(message(kind, flags, self._sequence, body))
        found: list[bytes] = []
        interrupted = False
        while True:
            for answer_kind, answer_flags, sequence, content in messages(self._socket.recv(_ANSWER_SIZE)):
                if sequence != self._sequence:
                    continue
                interrupted |= bool(answer_flags & NLM_F_DUMP_INTR)
                if answer_kind in (NLMSG_DONE, NLMSG_ERROR):
                    (code,) = struct.unpack_from("=i", content)
                    if code:
                        raise OSError(-code, os.strerror(-code), f"netlink dump {kind}")
                    return None if interrupted else found
                found.append(content)


class RouteSocket(NetlinkSocket):
    """A socket of rtnetlink."""

    def __init__(self) -> None:
        super().__init__(socket.NETLINK_ROUTE)
