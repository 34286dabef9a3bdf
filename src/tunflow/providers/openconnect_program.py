"""The program `openconnect` as a child process: started, answered, read and ended."""

from __future__ import annotations

import array
import asyncio
import os
import re
import shlex
import shutil
import socket
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from tunflow.errors import BadPacket, LocalError, RemoteError
from tunflow.protocols.openconnect.settings import OpenConnectServer
from tunflow.providers.child_process import ChildProcess
from tunflow.single_values import json_value

SCRIPT = Path(__file__).with_name("openconnect_script.py")
LARGEST_TELLING = 256 * 1024
"""Bytes of JSON that the script may tell."""
GOODBYE = 3.0
"""Seconds in which the program signs out before it is killed."""
TYPING = 0.3
"""Seconds without another byte after which an unfinished line is a question."""

_HANDING = 3
"""The descriptor on which the script hands the packets over."""
_WRONG = "Login failed."
_LAST_LINES = 12
_OTHER_KEY = re.compile(r"fingerprint\(s\) specified via --servercert match server's certificate: (\S+)")
_UNTRUSTED = re.compile(r"servercert (pin-sha256:\S+)")


class HandedOver(NamedTuple):
    """What the program's script handed over: a socket with a packet in each datagram, and what was assigned."""

    packets: socket.socket
    told: Mapping[str, str]


class OpenConnectProgram:
    """One run of it. `answer` is asked what the server's forms ask."""

    def __init__(self, server: OpenConnectServer, answer: Callable[[str], Awaitable[str]]) -> None:
        self._server = server
        self._answer = answer
        self._process: ChildProcess | None = None
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)

    async def start(self, proxy: str, *, asks: bool) -> HandedOver:
        """Sign in. `asks`: somebody can answer questions. Raises LocalError, RemoteError with the reason."""
        path = openconnect_path()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            self._spawn(path, proxy, theirs.fileno(), asks=asks)
            theirs.close()
            ours.setblocking(False)
            reading = asyncio.ensure_future(self._read())
            try:
                tunnel = await _handed_over(ours)
                if tunnel is None:
                    await reading
                    raise RemoteError(self.reason())
            except BaseException:
                reading.cancel()
                await self.stop()
                raise
            return tunnel

    async def ended(self) -> str:
        """Wait until it ends; why it did."""
        assert self._process is not None
        await self._process.wait()
        return self.reason()

    async def stop(self) -> None:
        """Sign out, and end it."""
        if self._process is not None:
            await self._process.stop(GOODBYE)

    def reason(self) -> str:
        """Why it ended, in a line, by what it printed last."""
        text = "\n".join(self._lines)
        label = self._server.label
        pin = _UNTRUSTED.search(text)
        if pin:
            return (
                f"{label}: its certificate is not trusted; if you know that it is right, add pin={pin[1]} to the link"
            )
        other = _OTHER_KEY.search(text)
        if other:
            return f"{label}: its certificate is not the pinned one, but {other[1]}"
        if _WRONG in self._lines or "Authentication failed" in text or "auth-fail" in text:
            return f"{label}: user or password is wrong"
        if "User input required in non-interactive mode" in text:
            return f"{label}: the server asks what the link does not say, and there is no terminal to answer on"
        telling = [line for line in self._lines if not line.startswith(("POST ", "GET ", "Attempting", "SSL neg"))]
        return f"{label}: openconnect ended: {'; '.join(telling[-2:]) or 'it said nothing'}"

    def _spawn(self, path: str, proxy: str, handing: int, *, asks: bool) -> None:
        script = shlex.join([sys.executable, "-IS", str(SCRIPT), str(_HANDING)])
        settings = self._server.configuration_file(proxy, script)
        if self._server.password is not None:
            settings += "passwd-on-stdin\n"
        if not asks:
            settings += "non-inter\n"
        file = os.memfd_create("openconnect", 0)
        try:
            os.write(file, settings.encode())
            os.lseek(file, 0, os.SEEK_SET)
            environment = {name: text for name, text in os.environ.items() if not name.startswith("TUNFLOW_")}
            environment["LC_ALL"] = "C"  # what it prints is read
            self._process = ChildProcess([path, "--config=/proc/self/fd/4"], environment, {_HANDING: handing, 4: file})
        finally:
            os.close(file)
        if self._server.password is not None:
            self._process.type(f"{self._server.password}\n")

    async def _read(self) -> None:
        """Read what it prints, to the end, and answer what it asks."""
        assert self._process is not None
        rest = ""
        while True:
            try:
                async with asyncio.timeout(TYPING if rest.strip() else None):
                    data = await self._process.read()
            except TimeoutError:
                if self._server.password is not None and _WRONG in self._lines:
                    await self.stop()  # it would ask for ever
                elif rest.rstrip().endswith((":", "?", "]")):
                    self._process.type(await self._answer(rest.strip()) + "\n")
                    rest = ""
                continue
            if not data:
                return
            *lines, rest = (rest + data.decode(errors="replace")).split("\n")
            self._lines.extend(line.strip() for line in lines if line.strip())


def openconnect_path() -> str:
    """Where it is. Raises LocalError."""
    path = shutil.which("openconnect", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/sbin")
    if path is None:
        raise LocalError("the program openconnect is not there: apt install openconnect")
    return path


async def _handed_over(ours: socket.socket) -> HandedOver | None:
    """What the script sends; None when the program ended without. Raises BadPacket."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(ours.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(ours.fileno())
    size = array.array("i", [0]).itemsize
    data, ancillary, _, _ = ours.recvmsg(LARGEST_TELLING, socket.CMSG_SPACE(size))
    if not data:
        return None
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            packets = socket.socket(fileno=array.array("i", content[:size])[0])
            packets.setblocking(False)
            return HandedOver(packets, json_value(data))
    raise BadPacket("openconnect's script handed nothing over")
