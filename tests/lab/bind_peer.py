"""BIND with a signed Internet of its own: a root, zones below it of every kind, and a zone whose keys change.

`named` is authoritative for all of them, signed by `dnssec-signzone`, and checks nothing itself.
"""

from __future__ import annotations

import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dns.dnssec
import dns.name
import dns.rdata
from bench.netlab.namespaces import Lab
from bench.netlab.processes import Process

TARGET = "192.0.2.80"
RECORDS = f"www A {TARGET}\n*.wild A {TARGET}\n"
ZONES = {
    "good.": RECORDS + "alias CNAME www\nout CNAME www.plain.\nmany TXT one\n",
    "opt.": RECORDS + "plain NS ns.plain.opt.\nns.plain A 192.0.2.1\n",
    "signed.opt.": RECORDS,
    "plain.opt.": RECORDS,
    "plain.": RECORDS,
    "orphan.": RECORDS,
    "expired.": RECORDS,
    "future.": RECORDS,
    "stranger.": RECORDS,
    "rsa.": RECORDS,
    "edwards.": RECORDS,
    "tight.": RECORDS,
}
UNSIGNED = {"plain.opt.", "plain."}
WITHOUT_DS = {*UNSIGNED, "orphan."}
HASHED = {"opt.": ["-3", "abcd", "-H", "1", "-A"], "tight.": ["-3", "-", "-H", "0"]}
ALGORITHMS = {"rsa.": "RSASHA256", "edwards.": "ED25519"}
TIMES = {"expired.": (-20, -10), "future.": (10, 20)}
"""Days from now between which signatures hold."""
ROLLING = "roll."


def _at(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y%m%d%H%M%S")


class Bind:
    """The zones in a folder, and `named` that serves them at an address of S."""

    def __init__(self, lab: Lab, address: str) -> None:
        self._lab = lab
        self._folder = lab.directory / "bind"
        self._folder.mkdir()
        self._address = address
        self._serial = 1
        signed = [name for name in ZONES if name not in UNSIGNED]
        wanted = [(".", "."), *((name, name) for name in (*signed, "stranger.")), *((ROLLING, key) for key in "ab")]
        self._keys = self._make_keys(wanted)
        """Files of keys; those of the rolling zone are `a` and `b`, and the second of a stranger is what its parent
        names."""
        self._process: Process | None = None
        self._sign_all([(name, ZONES[name], [name], name) for name in signed])
        for name in UNSIGNED:
            (self._folder / f"{name}zone").write_text(self._text(name, ZONES[name], []))
        self._roll("a", "a", "a")

    # Keys and zones.

    def _make_keys(self, wanted: list[tuple[str, str]]) -> dict[str, Path]:
        running = []
        for number, (zone, label) in enumerate(wanted):
            folder = self._folder / f"key{number}"
            folder.mkdir()
            algorithm = ALGORITHMS.get(zone, "ECDSAP256SHA256")
            size = ["-b", "2048"] if algorithm.startswith("RSA") else []
            argv = ["dnssec-keygen", "-q", "-a", algorithm, *size, "-f", "KSK", "-K", str(folder), zone]
            running.append((label, folder, subprocess.Popen(argv, stdout=subprocess.DEVNULL)))
        found: dict[str, Path] = {}
        for label, folder, process in running:
            assert process.wait() == 0
            (file,) = folder.glob("*.key")
            found["stranger's" if label in found else label] = file
        return found

    def digest(self, zone: str, key: str) -> str:
        """The DS record of a key."""
        line = next(line for line in self._keys[key].read_text().splitlines() if line and line[0] != ";")
        public = dns.rdata.from_text("IN", "DNSKEY", line.split("DNSKEY")[1])
        return dns.dnssec.make_ds(dns.name.from_text(zone), public, "SHA256").to_text()

    @property
    def anchor(self) -> str:
        """The root's, as a profile has it."""
        return f". DS {self.digest('.', '.')}"

    def _text(self, zone: str, records: str, keys: list[str], ttl: int = 300) -> str:
        head = (
            f"$TTL {ttl}\n$ORIGIN {zone}\n@ SOA ns.nic. admin.nic. {self._serial} 3600 600 86400 {ttl}\n@ NS ns.nic.\n"
        )
        return head + records + "".join(f"$INCLUDE {self._keys[key]}\n" for key in keys)

    def _sign_all(self, wanted: list[tuple[str, str, list[str], str]], ttl: int = 300) -> None:
        """Sign zones: name, records, keys in the zone, and the key that signs."""
        running = []
        for zone, records, keys, signer in wanted:
            plain = self._folder / f"{zone}plain"
            plain.write_text(self._text(zone, records, keys, ttl))
            first, last = TIMES.get(zone, (-1, 10))
            argv = ["dnssec-signzone", "-q", "-P", "-z", "-o", zone, "-s", _at(first), "-e", _at(last)]
            argv += [
                *HASHED.get(zone, []),
                "-f",
                str(self._folder / f"{zone}zone"),
                str(plain),
                str(self._keys[signer]),
            ]
            running.append(subprocess.Popen(argv, cwd=self._folder, stdout=subprocess.DEVNULL))
        assert [process.wait() for process in running] == [0] * len(running)

    def _delegations(self, below: str) -> str:
        lines = []
        for zone in (*ZONES, ROLLING):
            name = dns.name.from_text(zone)
            if name.parent() != dns.name.from_text(below):
                continue
            lines.append(f"{zone} NS ns.nic.")
            if zone == ROLLING:
                lines += [f"{zone} {self._rolling_ttl} DS {self.digest(zone, key)}" for key in self._parent_names]
            elif zone not in WITHOUT_DS:
                lines.append(
                    f"{zone} DS {self.digest(zone, 'stranger' + chr(39) + 's' if zone == 'stranger.' else zone)}"
                )
        return "\n".join(lines) + "\n"

    _rolling_ttl = 1
    _parent_names = "a"

    def _roll(self, keys: str, signer: str, parent: str) -> None:
        """Publish keys in the rolling zone, sign it by one, and have its parent name some."""
        self._parent_names = parent
        records = RECORDS + f"serial TXT {self._serial}\n"
        self._sign_all([(ROLLING, records, list(keys), signer)], ttl=self._rolling_ttl)
        self._sign_all([(".", self._delegations(".") + "ns.nic. A 192.0.2.1\n", ["."], ".")])

    # The server.

    def start(self) -> None:
        """Serve. Raises RuntimeError."""
        opt = ZONES["opt."] + self._delegations("opt.").replace("plain.opt. NS ns.nic.\n", "")
        self._sign_all([("opt.", opt, ["opt."], "opt.")])
        zones = "".join(
            f'zone "{name}" {{ type primary; file "{self._folder}/{name}zone"; }};\n' for name in (".", *ZONES, ROLLING)
        )
        config = self._folder / "named.conf"
        config.write_text(
            f'options {{ directory "{self._folder}"; pid-file none; session-keyfile none; listen-on-v6 {{ none; }};\n'
            f"listen-on port 53 {{ {self._address}; }}; recursion yes; allow-recursion {{ any; }};\n"
            "dnssec-validation no; empty-zones-enable no; };\ncontrols { };\n" + zones
        )
        argv = ["named", "-g", "-n", "1", "-c", str(config)]
        self._process = self._lab.start(self._lab.server, argv)
        self._wait_for("all zones loaded")

    def roll(self, keys: str, signer: str, parent: str) -> None:
        """The next stage of a change of keys."""
        self._serial += 1
        self._roll(keys, signer, parent)
        assert self._process is not None
        self._process.popen.send_signal(1)
        self._wait_for(f"zone roll/IN: loaded serial {self._serial}")
        self._wait_for(f"zone ./IN: loaded serial {self._serial}")

    def _wait_for(self, words: str) -> None:
        assert self._process is not None
        deadline = time.monotonic() + 20
        while words not in self._process.output():
            if time.monotonic() > deadline or self._process.popen.poll() is not None:
                raise RuntimeError(f"named: {self._process.output()[-3000:]}")
            time.sleep(0.02)
