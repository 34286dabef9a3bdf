"""Which process made each socket, noted by the kernel when it is made.

A program of fifteen eBPF instructions runs at each `socket()` below a control group and writes the process's id into a
table under the socket's cookie, which `socket_diag` tells. So the process of a new flow is one look into a table,
however many processes there are and however short they live. The program is written out here as instructions, because
the whole need is one call between two others.

It takes root (CAP_BPF and CAP_NET_ADMIN), control groups of version 2 and Linux 5.12; `open_owners` answers None where
one is missing. The kernel takes all of it away when the process ends, however it does.

Read first: bpf(2), bpf-helpers(7). Constants: Linux include/uapi/linux/bpf.h.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from contextlib import suppress
from pathlib import Path

TABLE_SIZE = 1 << 16
"""Sockets; the one that was not used for longest makes room."""

CGROUP_ROOTS = (
    "/sys/fs/cgroup",
    "/sys/fs/cgroup/unified",
    "/proc/1/root/sys/fs/cgroup",
    "/proc/1/root/sys/fs/cgroup/unified",
)
"""Where version 2 is mounted; the latter for who has a mount namespace of his own (ip-netns(8))."""

_NUMBER = {"x86_64": 321, "aarch64": 280, "riscv64": 280}.get(os.uname().machine)
"""The system call's; None where it is not known."""
_MAP_CREATE, _MAP_LOOKUP_ELEM, _PROG_LOAD, _LINK_CREATE = 0, 1, 5, 28
_MAP_TYPE_LRU_HASH = 9
_PROG_TYPE_CGROUP_SOCK = 9
_CGROUP_INET_SOCK_CREATE = 2
_GET_SOCKET_COOKIE, _GET_CURRENT_PID_TGID, _MAP_UPDATE_ELEM = 46, 14, 2
_ATTRIBUTE_SIZE = 128
SO_COOKIE = 57
"""linux/asm-generic/socket.h"""

_libc = ctypes.CDLL(None, use_errno=True)


class SocketOwners:
    """The table; it is kept for as long as this lives."""

    def __init__(self, cgroup_root: str) -> None:
        """Raises OSError where the system has or allows no such thing."""
        self._descriptors: list[int] = []
        try:
            self._table = self._add(_bpf(_MAP_CREATE, "=IIIII", _MAP_TYPE_LRU_HASH, 8, 8, TABLE_SIZE, 0))
            program = self._add(_load(_instructions(self._table)))
            root = self._add(os.open(cgroup_root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            self._add(_bpf(_LINK_CREATE, "=IIII", program, root, _CGROUP_INET_SOCK_CREATE, 0))
        except BaseException:
            self.close()
            raise
        self._cookie = ctypes.c_uint64()
        self._value = ctypes.c_uint64()
        self._question = ctypes.create_string_buffer(
            struct.pack("=IIQQQ", self._table, 0, ctypes.addressof(self._cookie), ctypes.addressof(self._value), 0),
            _ATTRIBUTE_SIZE,
        )

    def find(self, cookie: int) -> int | None:
        """The process that made the socket; None when it was made before the table, or long ago."""
        self._cookie.value = cookie
        if _libc.syscall(_NUMBER, _MAP_LOOKUP_ELEM, self._question, _ATTRIBUTE_SIZE):
            return None
        return self._value.value >> 32

    def close(self) -> None:
        """Give it back."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()

    def _add(self, descriptor: int) -> int:
        self._descriptors.append(descriptor)
        return descriptor


def open_owners() -> SocketOwners | None:
    """The table for this host; None where it cannot be had, or speaks of another PID namespace than ours."""
    if _NUMBER is None:
        return None
    for root in CGROUP_ROOTS:
        with suppress(OSError):
            if not Path(root, "cgroup.procs").exists():  # version 2's
                continue
            owners = SocketOwners(root)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
                (cookie,) = struct.unpack("=Q", ours.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))
                if owners.find(cookie) == os.getpid():
                    return owners
            owners.close()
    return None


def _bpf(command: int, layout: str, *values: int | bytes) -> int:
    """The system call with an attribute of that layout. Raises OSError."""
    attribute = ctypes.create_string_buffer(struct.pack(layout, *values), _ATTRIBUTE_SIZE)
    result = int(_libc.syscall(_NUMBER, command, attribute, _ATTRIBUTE_SIZE))
    if result < 0:
        raise OSError(ctypes.get_errno(), "bpf")
    return result


def _load(instructions: bytes) -> int:
    code, licence = ctypes.create_string_buffer(instructions), ctypes.create_string_buffer(b"MIT")
    count = len(instructions) // 8
    # union bpf_attr for BPF_PROG_LOAD: type, count, code, licence, then the verifier's log, flags, name, interface
    return _bpf(
        _PROG_LOAD, "=IIQQIIQII16sII", _PROG_TYPE_CGROUP_SOCK, count, ctypes.addressof(code), ctypes.addressof(licence),
        0, 0, 0, 0, 0, b"tunflow_owner", 0, _CGROUP_INET_SOCK_CREATE,
    )  # fmt: skip


def _instructions(table: int) -> bytes:
    """`table[get_socket_cookie(context)] = get_current_pid_tgid(); return 1`, which allows the socket."""
    return b"".join((
        _instruction(0x85, immediate=_GET_SOCKET_COOKIE),
        _instruction(0x7B, 10, 0, -8),  # the key, on the stack
        _instruction(0x85, immediate=_GET_CURRENT_PID_TGID),
        _instruction(0x7B, 10, 0, -16),  # the value
        _instruction(0x18, 1, 1, immediate=table),  # r1 = the table, in two words
        _instruction(0),
        _instruction(0xBF, 2, 10),
        _instruction(0x07, 2, immediate=-8),
        _instruction(0xBF, 3, 10),
        _instruction(0x07, 3, immediate=-16),
        _instruction(0xB7, 4),  # BPF_ANY
        _instruction(0x85, immediate=_MAP_UPDATE_ELEM),
        _instruction(0xB7, 0, immediate=1),
        _instruction(0x95),
    ))  # fmt: skip


def _instruction(code: int, to: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("=BBhi", code, to | source << 4, offset, immediate)
