"""A private Tor network on the lab's server S: an authority, four relays, a client's SOCKS port, and an onion service.

It speaks to nobody else (TestingTorNetwork), and its directory agrees within some ten seconds: votes are every ten.
Read first: tor(1) "TESTING NETWORK OPTIONS" and "DIRECTORY AUTHORITY SERVER OPTIONS", tor-gencert(1).
"""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Callable

from bench.netlab.namespaces import SERVER4, SITE4, Lab
from bench.netlab.processes import Process

SOCKS_PORT = 9050
CONTROL_PORT = 9051
RELAYS = 4
_PROXY = f"{SERVER4}:{SOCKS_PORT}"

_COMMON = """\
TestingTorNetwork 1
DataDirectory {directory}
Nickname {name}
Log notice file {directory}/log
AssumeReachable 1
PathsNeededToBuildCircuits 0.25
TestingDirAuthVoteExit *
TestingDirAuthVoteGuard *
TestingDirAuthVoteHSDir *
TestingMinExitFlagThreshold 0
TestingMinFastFlagThreshold 0
ServerDNSDetectHijacking 0
ServerDNSTestAddresses
VanguardsLiteEnabled 0
"""
_AUTHORITY = """\
AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
ContactInfo lab
V3AuthVotingInterval 10
V3AuthVoteDelay 2
V3AuthDistDelay 2
TestingV3AuthInitialVotingInterval 5
TestingV3AuthInitialVoteDelay 2
TestingV3AuthInitialDistDelay 2
TestingAuthDirTimeToLearnReachability 0
ExitRelay 0
"""
_EXIT = "ExitRelay 1\nIPv6Exit 1\nExitPolicy accept *:*\nExitPolicy accept6 *:*\nRefuseUnknownExits 0\n"
"""The last: whose directory lacks one of the others yet takes its flows all the same."""
_CLIENT = f"""\
SocksPort {_PROXY} ExtendedErrors IPv6Traffic
ControlPort 127.0.0.1:{CONTROL_PORT}
Log [app]info file {{directory}}/flows
"""


class TorNetwork:
    """Starts in the background when it is made; `wait` returns once it carries flows.

    The client is started last, once the directory has all relays: it would take a directory that lacks some, find no
    path, and ask for the next one only half a minute later.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._directory = lab.directory / "tor"
        self._directory.mkdir()
        self._processes: list[Process] = []
        self._users = itertools.count()
        authority = self._authority()
        self._start("authority", authority + _AUTHORITY + _relay(0))
        for number in range(1, RELAYS + 1):
            self._start(f"relay{number}", authority + _relay(number) + _EXIT)
        self._trusted = authority
        """The line by which all of them know the authority."""

    def wait(self, timeout: float = 240.0) -> None:
        """Return once flows get to the site on circuits of their own, one after the other, by whatever exits. Raises
        RuntimeError.
        """
        deadline = time.monotonic() + timeout
        self._until(deadline, lambda: self._relays_known() >= RELAYS, "authority")
        self._start("client", self._trusted + _CLIENT)
        log = self._directory / "client" / "log"
        self._until(deadline, lambda: log.exists() and "Bootstrapped 100%" in log.read_text(), "client")
        self._until(deadline, lambda: all(self._carries() for _ in range(2 * RELAYS)), "client")

    def _until(self, deadline: float, condition: Callable[[], bool], name: str) -> None:
        while not condition():
            if time.monotonic() > deadline or any(process.popen.poll() is not None for process in self._processes):
                raise RuntimeError(f"Tor does not start: {self.log(name)}")
            time.sleep(0.1)

    def _carries(self) -> bool:
        """Return True if a flow gets to the site as a user whom nobody was before."""
        user = f"ready{next(self._users)}:x"
        ask = ["curl", "-sS", "-m", "10", "-o", "/dev/null", "--proxy-user", user, "--socks5-hostname", _PROXY]
        return self._lab.server.run([*ask, f"http://{SITE4}/1k"], check=False).returncode == 0

    def log(self, name: str = "client") -> str:
        """The end of what one of them has to say."""
        files = [self._directory / name / file for file in ("log", "flows")]
        return "\n".join(file.read_text()[-3000:] for file in files if file.exists()) or "no log"

    def _relays_known(self) -> int:
        """How many relays are in the directory of the authority, as a client would fetch it."""
        agreed = self._directory / "authority" / "cached-microdesc-consensus"
        text = agreed.read_text() if agreed.exists() else ""
        return sum(line.startswith("r relay") for line in text.splitlines())

    def start_onion(self, timeout: float = 150.0) -> None:
        """Return once an onion service answers Tor's own client; after `wait`, since a service that found no relays for
        its first circuits builds none for five minutes (tor's INTRO_CIRC_RETRY_PERIOD). Raises RuntimeError.
        """
        onion = self._directory / "onion"
        service = f"SocksPort 0\nHiddenServiceDir {onion}/service\nHiddenServicePort 80 {SITE4}:80\n"
        self._start("onion", self._trusted + service)
        deadline = time.monotonic() + timeout
        while not (onion / "service" / "hostname").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        ask = ["curl", "-sS", "-m", "8", "-o", "/dev/null", "--socks5-hostname", _PROXY, f"http://{self.onion}/"]
        while (done := self._lab.server.run(ask, check=False)).returncode:
            if time.monotonic() > deadline:
                logs = "\n".join(map(self.log, ("client", "onion")))
                raise RuntimeError(f"Tor does not reach its own onion service: {done.stderr}\n{logs}")
            time.sleep(0.5)

    def stop(self) -> None:
        """End all of it."""
        for process in self._processes:
            process.popen.terminate()
        for process in self._processes:
            process.stop()

    @property
    def onion(self) -> str:
        """The onion service's name; behind it is the site."""
        return (self._directory / "onion" / "service" / "hostname").read_text().strip()

    def control(self, command: str) -> str:
        """What Tor's control port answers to one command."""
        script = f"printf 'AUTHENTICATE\\r\\n{command}\\r\\nQUIT\\r\\n' | busybox nc -w 5 127.0.0.1 {CONTROL_PORT}"
        return self._lab.server.run(["sh", "-c", script]).stdout

    def _start(self, name: str, text: str) -> Process:
        directory = self._directory / name
        directory.mkdir(mode=0o700, exist_ok=True)
        file = directory / "torrc"
        file.write_text((_COMMON + text).format(directory=directory, name=name))
        argv = ["tor", "-f", str(file), "--defaults-torrc", "/dev/null", "--quiet"]
        process = self._lab.start(self._lab.server, argv)
        self._processes.append(process)
        return process

    def _authority(self) -> str:
        """Make the authority's keys; the line by which everybody knows it."""
        directory = self._directory / "authority"
        keys = directory / "keys"
        keys.mkdir(parents=True, mode=0o700)
        directory.chmod(0o700)
        certificate = keys / "authority_certificate"
        files = ["-i", keys / "authority_identity_key", "-s", keys / "authority_signing_key", "-c", certificate]
        make = ["tor-gencert", "--create-identity-key", "-m", "12", "-a", "127.0.0.1:7000", "--passphrase-fd", "0"]
        subprocess.run([*make, *map(str, files)], input=b"lab\n", check=True, capture_output=True)
        identity = _line(certificate.read_text(), "fingerprint")
        file = directory / "torrc"
        placeholder = f"DirAuthority x orport=1 127.0.0.1:1 {'f' * 40}\n"
        file.write_text(_COMMON.format(directory=directory, name="authority") + _AUTHORITY + _relay(0) + placeholder)
        told = self._lab.server.run(
            ["tor", "-f", str(file), "--defaults-torrc", "/dev/null", "--list-fingerprint", "--quiet"]
        )
        fingerprint = _line(told.stdout, "authority").replace(" ", "")
        return f"DirAuthority authority orport=5000 no-v2 v3ident={identity} 127.0.0.1:7000 {fingerprint}\n"


def _relay(number: int) -> str:
    ports = f"ORPort 127.0.0.1:{5000 + number}\nDirPort 127.0.0.1:{7000 + number}\n"
    return f"Address 127.0.0.1\n{ports}SocksPort 0\n"


def _line(text: str, start: str) -> str:
    """What follows the word at the start of a line."""
    return next(line for line in text.splitlines() if line.startswith(start + " ")).removeprefix(start).strip()
