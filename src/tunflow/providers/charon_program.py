"""strongSwan's charon as a child process in namespaces of its own: started, told what to do, read and ended."""

from __future__ import annotations

import array
import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import NamedTuple

from tunflow.errors import LocalError, RemoteError
from tunflow.protocols.ikev2.settings import IKEv2Server
from tunflow.providers.charon_namespace import CONTROL, REFUSED
from tunflow.providers.child_process import ChildProcess

SCRIPT = Path(__file__).with_name("charon_namespace.py")
PLACES = ("/usr/lib/ipsec", "/usr/libexec/ipsec", "/usr/lib/strongswan", "/usr/libexec/strongswan")
PACKAGES = "strongswan-charon libstrongswan-standard-plugins libcharon-extra-plugins libcharon-extauth-plugins"
"""Debian's, with everything that is loaded."""
PLUGINS = (
    "random nonce openssl aes sha1 sha2 hmac kdf md4 md5 gmp curve25519 gcm chapoly pem pkcs1 pkcs8 x509 revocation "
    "constraints pubkey socket-default kernel-libipsec kernel-netlink eap-identity eap-mschapv2 eap-md5 vici updown"
)
NEEDED = ("kernel-libipsec", "eap-mschapv2", "vici", "updown")
"""What packages of their own bring."""
GOODBYE = 3.0
"""Seconds in which it tells the server that it goes before it is killed."""
TELLING = 'echo told "$PLUTO_DNS4_1" "$PLUTO_DNS4_2" "$PLUTO_DNS6_1" "$PLUTO_DNS6_2"'
"""What it runs when the tunnel is up; the words come back in its log."""
TOLD_PATIENCE = 5.0
DENIED = "its systemd unit denies namespaces: tunflow service install PROFILE writes one that does not"
"""Why it does not start in a service (INVOCATION_ID is there: systemd.exec(5)) of another profile, or an older one."""

_CONFIGURATION = f"""\
charon {{
  load = {PLUGINS}
  retransmit_tries = 4
  retransmit_timeout = 2.0
  retransmit_base = 1.6
  filelog {{
    stderr {{
      default = 1
      flush_line = yes
    }}
  }}
  plugins {{
    vici {{
      socket = unix://{CONTROL}
    }}
    updown {{
      dns_handler = yes
    }}
  }}
}}
"""
_HANDING, _FILE = 3, 4
_PATIENCE = 30.0
_LAST_LINES = 60
_TOLD = re.compile(r"updown: told(?P<words>.*)")
_ENDS = 3


class Ends(NamedTuple):
    """What charon's namespaces are reached by."""

    wan: int
    """A descriptor: of IP packets to and from its server."""
    packets: socket.socket
    """IP packets in the tunnel."""
    control: socket.socket


class CharonProgram:
    """One run of it."""

    def __init__(self, server: IKEv2Server) -> None:
        self._server = server
        self._process: ChildProcess | None = None
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._told = asyncio.Event()
        self._resolvers: tuple[str, ...] = ()
        self._reading: asyncio.Future[None] | None = None

    async def start(self) -> Ends:
        """Start it. Raises LocalError, RemoteError with the reason."""
        charon = charon_path()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            file = os.memfd_create("strongswan.conf", 0)
            try:
                os.write(file, _CONFIGURATION.encode())
                os.lseek(file, 0, os.SEEK_SET)
                environment = {name: text for name, text in os.environ.items() if not name.startswith("TUNFLOW_")}
                environment["LC_ALL"] = "C"  # what it prints is read
                argv = [sys.executable, "-IS", str(SCRIPT), str(_HANDING), str(_FILE), str(charon)]
                self._process = ChildProcess(argv, environment, {_HANDING: theirs.fileno(), _FILE: file})
            finally:
                os.close(file)
            theirs.close()
            ours.setblocking(False)
            self._reading = asyncio.ensure_future(self._read())
            ends = await _handed_over(ours)
            if ends is None:
                await self.stop()
                raise LocalError(f"{self._server.label}: charon did not start: {self._why_not()}")
            return ends

    async def resolvers(self) -> tuple[str, ...]:
        """The addresses of the resolvers that the server assigned, once the tunnel is up."""
        try:
            async with asyncio.timeout(TOLD_PATIENCE):
                await self._told.wait()
        except TimeoutError:
            return ()
        return self._resolvers

    async def ended(self) -> str:
        """Wait until it ends; why it did."""
        assert self._process is not None
        await self._process.wait()
        return f"{self._server.label}: charon ended: {self._last()}"

    async def stop(self) -> None:
        """Tell the server, and end it."""
        if self._process is not None:
            await self._process.stop(GOODBYE)
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)

    def refusal(self, words: str) -> RemoteError:
        """Why there is no tunnel, by what it printed last; `words` are vici's."""
        text, label, server = "\n".join(self._lines), self._server.label, self._server
        reason = words
        if "giving up after" in text:
            reason = "no answer"
        elif "EAP_MSCHAPV2 method failed" in text or "EAP authentication failed" in text or "EAP_FAILURE" in text:
            reason = "user or password is wrong"
        elif "no trusted" in text or "no issuer certificate found" in text:
            reason = "its certificate is not trusted: ca=FILE in the link says whom to trust"
        elif "required" in text and "constraint check failed" in text:
            reason = f"it is not {server.remote_id or server.host}: remote_id=ID in the link says who it is"
        elif "AUTHENTICATION_FAILED" in text or ("authentication of" in text and "failed" in text):
            whose = "secret" if server.method == "psk" else "user, certificate"
            reason = f"it refuses us: {whose}, local_id or remote_id is wrong"
        elif "NO_PROPOSAL_CHOSEN" in text:
            reason = "it takes none of our algorithms: ike= and esp= in the link name others"
        elif "TS_UNACCEPTABLE" in text:
            reason = "it takes no traffic of ours (TS_UNACCEPTABLE)"
        return RemoteError(f"{label}: {reason}")

    def _why_not(self) -> str:
        refused = next((line for line in self._lines if line.startswith(REFUSED)), None)
        if refused is None:
            return self._last()
        return _explained(refused)

    def _last(self) -> str:
        return "; ".join(list(self._lines)[-2:]) or "it said nothing"

    async def _read(self) -> None:
        """Read what it prints, to the end."""
        assert self._process is not None
        rest = ""
        while data := await self._process.read():
            *lines, rest = (rest + data.decode(errors="replace")).split("\n")
            for line in lines:
                self._lines.append(line.strip())
                found = _TOLD.search(line)
                if found:
                    self._resolvers = tuple(dict.fromkeys(found["words"].split()))
                    self._told.set()


def charon_path() -> Path:
    """Where charon is. Raises LocalError."""
    remedy = f"apt install {PACKAGES}"
    charon = next((path for place in PLACES if (path := Path(place, "charon")).is_file()), None)
    if charon is None or shutil.which(charon) is None:
        raise LocalError(f"strongSwan's charon is not there: {remedy}")
    for name in NEEDED:
        if not (charon.parent / "plugins" / f"libstrongswan-{name}.so").is_file():
            raise LocalError(f"strongSwan's plugin {name} is not there: {remedy}")
    return charon


def check_namespaces() -> None:
    """Raise LocalError where charon may not be put in namespaces of its own."""
    done = subprocess.run(
        [sys.executable, "-IS", str(SCRIPT)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    if done.returncode < 0:
        raise LocalError(f"{REFUSED}a system call of it is denied ({signal.Signals(-done.returncode).name}); {DENIED}")
    if done.returncode:
        raise LocalError(_explained(done.stderr.strip().rpartition("\n")[2]))


def _explained(refused: str) -> str:
    return f"{refused}; {DENIED}" if "unshare: " in refused and "INVOCATION_ID" in os.environ else refused


async def _handed_over(ours: socket.socket) -> Ends | None:
    """What the script sends; None when it ended without."""
    ready, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(ours.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(ours.fileno())
    size = array.array("i").itemsize * _ENDS
    data, ancillary, _, _ = ours.recvmsg(16, socket.CMSG_SPACE(size))
    for level, kind, content in ancillary:
        if data and level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS and len(content) >= size:
            wan, packets, control = array.array("i", content[:size])
            ends = Ends(wan, socket.socket(fileno=packets), socket.socket(fileno=control))
            os.set_blocking(wan, False)
            ends.packets.setblocking(False)
            return ends
    return None
