"""DNSSEC through a tunnel, with zones that BIND's tools signed: proofs of every kind, what is wrong, new keys."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.netlab.tunnel import TUNFLOW, HeldTunnel, shadowsocks_url
from bind_peer import TARGET, Bind
from lab_support import Tunnel

pytestmark = pytest.mark.lab

ADDRESS = "10.77.0.57"
ANSWERS = {
    "www.good A": ("NOERROR", True),
    "x.wild.good A": ("NOERROR", True),
    "x.wild.good AAAA": ("NOERROR", True),
    "www.good AAAA": ("NOERROR", True),
    "nothing.good A": ("NXDOMAIN", True),
    "wild.good A": ("NOERROR", True),
    "alias.good A": ("NOERROR", True),
    "out.good A": ("NOERROR", False),
    "good DS": ("NOERROR", True),
    "good DNSKEY": ("NOERROR", True),
    "www.rsa A": ("NOERROR", True),
    "www.edwards A": ("NOERROR", True),
    "www.tight A": ("NOERROR", True),
    "nothing.tight A": ("NXDOMAIN", True),
    "x.wild.tight A": ("NOERROR", True),
    "www.tight AAAA": ("NOERROR", True),
    # NSEC3 with opt-out: what it denies may be there, unsigned (RFC 5155 §9.2).
    "www.opt A": ("NOERROR", True),
    "www.opt AAAA": ("NOERROR", True),
    "nothing.opt A": ("NXDOMAIN", False),
    "x.wild.opt A": ("NOERROR", False),
    "www.plain.opt A": ("NOERROR", False),
    "www.signed.opt A": ("NOERROR", True),
    "www.plain A": ("NOERROR", False),
    "nothing.plain A": ("NXDOMAIN", False),
    # Signed, and no parent says so.
    "www.orphan A": ("NOERROR", False),
    "www.expired A": ("SERVFAIL", False),
    "nothing.expired A": ("SERVFAIL", False),
    "www.future A": ("SERVFAIL", False),
    "www.stranger A": ("SERVFAIL", False),
    "nothing.stranger A": ("SERVFAIL", False),
    "nothing.nowhere A": ("NXDOMAIN", True),
}


@pytest.fixture(scope="module")
def bind(tunnel: Tunnel) -> Iterator[Bind]:
    lab = tunnel.lab
    with lab.server.addressed(f"{ADDRESS}/32"):
        made = Bind(lab, ADDRESS)
        made.start()
        yield made


@pytest.fixture(scope="module")
def held(tunnel: Tunnel, bind: Bind) -> Iterator[HeldTunnel]:
    """A tunnel whose resolver is BIND, and which knows its root's key."""
    file = Path(tunnel.lab.directory, "dnssec-bind.toml")
    file.write_text(
        f'server = "{shadowsocks_url()}"\n[dns]\nservers = ["tcp://{ADDRESS}"]\ndnssec = "validate"\n'
        f'trust_anchors = ["{bind.anchor}"]\n'
    )
    file.chmod(0o600)
    made = HeldTunnel(tunnel.lab, lambda argv: [TUNFLOW, "run", "--profile", str(file), "--", *argv])
    yield made
    made.stop()


def ask(tunnel: Tunnel, held: HeldTunnel, *questions: str, options: str = "+dnssec") -> list[str]:
    """What dig shows of each answer."""
    argv = ["dig", *options.split(), "+tries=1", "+timeout=30"]
    for question in questions:
        argv += question.split()
    found = tunnel.lab.client.run(held.command(argv), check=False).stdout
    return found.split(";; Got answer:")[1:]


def seen(answer: str) -> tuple[str, bool]:
    """An answer's status, and whether it has the AD bit."""
    status, flags = re.search(r"status: (\w+)", answer), re.search(r"flags: ([a-z ]*);", answer)
    assert status is not None
    assert flags is not None
    return status[1], "ad" in flags[1].split()


def test_every_kind_of_answer_is_what_it_is_worth(tunnel: Tunnel, held: HeldTunnel) -> None:
    found = ask(tunnel, held, *ANSWERS)
    assert dict(zip(ANSWERS, map(seen, found), strict=True)) == ANSWERS
    assert TARGET in found[0]
    assert "RRSIG" in found[0]


def test_bits_are_as_who_asks_wants_them(tunnel: Tunnel, held: HeldTunnel) -> None:
    """AD in a query asks for AD alone (RFC 6840 §5.7), CD for what was not checked (RFC 4035 §3.2.2)."""
    (plain,) = ask(tunnel, held, "www.good A", options="+noadflag")
    assert seen(plain) == ("NOERROR", False)
    assert "RRSIG" not in plain
    (asked,) = ask(tunnel, held, "www.good A", options="+adflag")
    assert seen(asked) == ("NOERROR", True)
    assert "RRSIG" not in asked
    expired, stranger = ask(tunnel, held, "www.expired A", "www.stranger A", options="+cdflag +dnssec")
    assert (seen(expired), seen(stranger)) == (("NOERROR", False), ("NOERROR", False))
    assert TARGET in expired
    assert seen(ask(tunnel, held, "www.expired A")[0]) == ("SERVFAIL", False), (
        "what CD was given is kept for nobody else"
    )


def test_a_zone_gets_new_keys_and_stays_authentic(tunnel: Tunnel, held: HeldTunnel, bind: Bind) -> None:
    """The double signature of RFC 6781 §4.1.1 and §4.1.2 in four steps, each later than records live (1 s)."""
    stages = [("a", "a", "a"), ("ab", "a", "ab"), ("ab", "b", "ab"), ("b", "b", "b")]
    for number, stage in enumerate(stages):
        if number:
            bind.roll(*stage)
            time.sleep(1.2)
        (found,) = ask(tunnel, held, f"{number}.wild.roll A")
        assert seen(found) == ("NOERROR", True), (stage, found)
    bind.roll("ab", "a", "b")
    time.sleep(1.2)
    (found,) = ask(tunnel, held, "last.wild.roll A")
    assert seen(found)[0] == "SERVFAIL", "the old key is none that the parent names"
