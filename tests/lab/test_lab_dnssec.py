"""DNSSEC through a tunnel, with unbound as the server of a signed zone, which checks nothing itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dns.dnssec
import dns.name
import dns.zone
import pytest
from bench.netlab.namespaces import SITE4
from bench.netlab.peers import start_unbound
from bench.netlab.tunnel import TUNFLOW, shadowsocks_url
from cryptography.hazmat.primitives.asymmetric import ec
from lab_support import Tunnel

pytestmark = pytest.mark.lab

ADDRESS = "10.77.0.56"
PORT = 53
ZONE = "signed.example."
TEXT = f"""\
@ 300 SOA ns admin 1 3600 600 86400 60
@ 300 NS ns
ns 300 A {ADDRESS}
www 300 A {SITE4}
forged 300 A {SITE4}
*.wild 300 A {SITE4}
"""


@pytest.fixture(scope="module")
def profile(tunnel: Tunnel) -> Iterator[str]:
    """A profile whose resolver serves the zone, and which knows its key."""
    lab = tunnel.lab
    key = ec.generate_private_key(ec.SECP256R1())
    public = dns.dnssec.make_dnskey(key.public_key(), dns.dnssec.Algorithm.ECDSAP256SHA256, flags=257)
    zone = dns.zone.from_text(TEXT, ZONE, relativize=False)
    now = datetime.now(UTC)
    dns.dnssec.sign_zone(
        zone, keys=[(key, public)], inception=now - timedelta(hours=1), expiration=now + timedelta(days=1)
    )
    zone.replace_rdataset(f"forged.{ZONE}", dns.rdataset.from_text("IN", "A", 300, "203.0.113.9"))
    file = lab.directory / "signed.zone"
    file.write_text(zone.to_text(relativize=False))
    more = ["auth-zone:", f'name: "{ZONE}"', f'zonefile: "{file}"', "for-upstream: no", "for-downstream: yes"]
    digest = dns.dnssec.make_ds(dns.name.from_text(ZONE), public, "SHA256").to_text()
    made = Path(lab.directory, "dnssec.toml")
    made.write_text(
        f'server = "{shadowsocks_url()}"\n[dns]\nservers = ["tcp://{ADDRESS}"]\ndnssec = "validate"\n'
        f'trust_anchors = ["{ZONE} DS {digest}"]\n'
    )
    made.chmod(0o600)
    with (
        lab.server.addressed(f"{ADDRESS}/32"),
        start_unbound(lab, [f"{ADDRESS}@{PORT}"], {"site.lab": [SITE4]}, more),
    ):
        yield str(made)


def test_signed_names_are_authentic_and_forged_ones_fail(tunnel: Tunnel, profile: str) -> None:
    questions = (
        f"www.{ZONE} A", f"x.wild.{ZONE} A", f"nothing.{ZONE} A", f"www.{ZONE} AAAA", f"forged.{ZONE} A",
        f"+cd forged.{ZONE} A", "site.lab A",
    )  # fmt: skip
    script = "; ".join(
        f"dig +dnssec +tries=1 +timeout=30 {question} | grep -E 'status|flags:|IN.*A|RRSIG|NSEC'; echo next"
        for question in questions
    )
    done = tunnel.lab.client.run([TUNFLOW, "run", "--profile", profile, "--", "sh", "-c", script])
    found = done.stdout.split("next\n")
    assert [_is_authentic(each) for each in found[:7]] == [True, True, True, True, False, False, False], found
    assert ["NOERROR" in each for each in found[:7]] == [True, True, False, True, False, True, True], found
    assert "NXDOMAIN" in found[2]
    assert "SERVFAIL" in found[4]
    assert SITE4 in found[0]
    assert "RRSIG" in found[0]
    assert "203.0.113.9" in found[5]
    assert "signatures do not hold" in done.stderr or "bogus" in done.stderr or f"forged.{ZONE[:-1]}" in done.stderr


def test_who_asks_for_no_signatures_is_told_by_the_answer_alone(tunnel: Tunnel, profile: str) -> None:
    script = f"dig +noedns +tries=1 www.{ZONE} A; getent ahostsv4 forged.{ZONE[:-1]} || echo no address"
    found = tunnel.lab.client.run([TUNFLOW, "run", "--profile", profile, "--", "sh", "-c", script]).stdout
    assert SITE4 in found
    assert "RRSIG" not in found
    assert "no address" in found


def _is_authentic(answer: str) -> bool:
    flags = answer.partition("flags:")[2].partition(";")[0]
    return "ad" in flags.split()
