"""A small signed Internet: a root, a signed zone below it by NSEC, one by NSEC3, and one that is not signed.

`Signed.answer` answers as an authoritative server of all of them does, with the proofs of what there is not.
"""

from __future__ import annotations

from datetime import UTC, datetime

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.node
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rdtypes.ANY.NSEC3
import dns.rrset
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec

NOW = datetime(2026, 1, 15, tzinfo=UTC).timestamp()
START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
SOA = "@ 300 SOA ns. admin. 1 3600 600 86400 60\n@ 300 NS ns.\n"
ZONES = {
    ".": "",
    "good.": "www 300 A 192.0.2.1\n*.wild 300 A 192.0.2.2\nalias 300 CNAME www\nout 300 CNAME www.plain.\n"
    "a.b.between 300 A 192.0.2.3\ntree 300 DNAME wild\n",
    "three.": "www 300 A 192.0.2.4\n*.wild 300 A 192.0.2.5\n",
    "plain.": "www 300 A 192.0.2.6\n",
    "odd.": "www 300 A 192.0.2.7\n",
}
NSEC3_ZONES = {"three."}
UNSIGNED = {"plain."}
SALT = b"\xab\xcd"


class Signed:
    """The zones, and a server of them."""

    def __init__(self, *, opt_out: bool = False, iterations: int = 1) -> None:
        self._flags, self._iterations = int(opt_out), iterations
        self.keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ZONES}
        self.public = {
            name: dns.dnssec.make_dnskey(key.public_key(), dns.dnssec.Algorithm.ECDSAP256SHA256, flags=257)
            for name, key in self.keys.items()
        }
        self.digests = {
            name: dns.dnssec.make_ds(dns.name.from_text(name), key, "SHA256") for name, key in self.public.items()
        }
        self.zones = {name: self._zone(name, text) for name, text in ZONES.items()}
        self.asked: list[tuple[str, str]] = []

    @property
    def anchor(self) -> str:
        return f". DS {self.digests['.'].to_text()}"

    def _zone(self, name: str, text: str) -> dns.zone.Zone:
        if name == ".":
            for child in ZONES:
                if child != ".":
                    text += f"{child} 300 NS ns.{child}\n"
                    if child not in UNSIGNED:
                        text += f"{child} 300 DS {self.digests[child].to_text()}\n"
        made = dns.zone.from_text(SOA + text, name, relativize=False)
        if name in UNSIGNED:
            return made
        pair = (self.keys[name], self.public[name])
        if name in NSEC3_ZONES:
            self._sign_with_hashes(made, name)
        else:
            dns.dnssec.sign_zone(made, keys=[pair], inception=START, expiration=END)
        return made

    def _sign_with_hashes(self, zone: dns.zone.Zone, name: str) -> None:
        origin = dns.name.from_text(name)
        zone.find_rdataset(origin, "DNSKEY", create=True).update(dns.rdataset.from_rdata(300, self.public[name]))
        names = {origin}
        for owner in zone.nodes:
            names |= {dns.name.Name(owner.labels[number:]) for number in range(len(owner.labels) - len(origin.labels))}
        hashed = sorted((dns.dnssec.nsec3_hash(each, SALT, self._iterations, 1), each) for each in names)
        digests = [text for text, _ in hashed]
        for number, (text, owner) in enumerate(hashed):
            after = digests[(number + 1) % len(digests)]
            kinds = {each.rdtype for each in zone.nodes.get(owner, dns.node.Node()).rdatasets}
            if kinds:
                kinds.add(dns.rdatatype.RRSIG)
            data = dns.rdata.from_text(
                "IN", "NSEC3",
                f"1 {self._flags} {self._iterations} {SALT.hex()} {after} "
                + " ".join(dns.rdatatype.to_text(kind) for kind in sorted(kinds)),
            )  # fmt: skip
            zone.find_rdataset(dns.name.from_text(text, origin), "NSEC3", create=True).update(
                dns.rdataset.from_rdata(300, data)
            )
        for owner, node in list(zone.nodes.items()):
            for rdataset in list(node.rdatasets):
                self.sign(zone, owner, rdataset, name)

    def sign(self, zone: dns.zone.Zone, owner: dns.name.Name, rdataset: dns.rdataset.Rdataset, name: str) -> None:
        signature = dns.dnssec.sign(
            (owner, rdataset), self.keys[name], dns.name.from_text(name), self.public[name],
            inception=START, expiration=END,
        )  # fmt: skip
        found = zone.find_rdataset(owner, "RRSIG", rdataset.rdtype, create=True)
        found.update(dns.rdataset.from_rdata(300, signature))

    # Answers.

    def answer(self, query: bytes) -> bytes:
        """The response of a recursive resolver that checks nothing."""
        read = dns.message.from_wire(query)
        made = dns.message.make_response(read, recursion_available=True)
        made.flags &= ~dns.flags.AD
        name, kind = read.question[0].name, read.question[0].rdtype
        self.asked.append((name.to_text(), dns.rdatatype.to_text(kind)))
        for _ in range(8):
            target = self._answer(made, name, kind)
            if target is None:
                break
            name = target
        return made.to_wire(max_size=65535)

    def _zone_of(self, name: dns.name.Name, kind: int) -> str:
        found = "."
        for zone in ZONES:
            if zone != "." and name.is_subdomain(dns.name.from_text(zone)):
                found = "." if kind == dns.rdatatype.DS and name == dns.name.from_text(zone) else zone
        return found

    def _answer(self, made: dns.message.Message, name: dns.name.Name, kind: int) -> dns.name.Name | None:
        zone_name = self._zone_of(name, kind)
        zone = self.zones[zone_name]
        for owner, wildcard in ((name, None), self._wildcard(zone, name)):
            if owner is None:
                continue
            for wanted in (kind, dns.rdatatype.CNAME):
                if (rdataset := zone.get_rdataset(owner, wanted)) is not None:
                    self._put(made.answer, zone, owner, rdataset, name)
                    if wildcard is not None:
                        self._deny(made, zone, name, exact=True)
                    return rdataset[0].target if wanted == dns.rdatatype.CNAME != kind else None
            if wildcard is not None or owner in zone.nodes or self._is_between(zone, owner):
                self._say_no(made, zone, name, owner)
                return None
        above = name.parent()
        while above != dns.name.root:
            dname = zone.get_rdataset(above, "DNAME")
            if dname is not None:
                self._put(made.answer, zone, above, dname, above)
                target = name.relativize(above).concatenate(dname[0].target)
                made.answer.append(dns.rrset.from_text(name, 300, "IN", "CNAME", target.to_text()))
                return target
            above = above.parent()
        made.set_rcode(3)
        self._say_no(made, zone, name, None)
        return None

    @staticmethod
    def _is_between(zone: dns.zone.Zone, name: dns.name.Name) -> bool:
        return any(each.is_subdomain(name) for each in zone.nodes)

    def _wildcard(self, zone: dns.zone.Zone, name: dns.name.Name):
        if name in zone.nodes or self._is_between(zone, name):
            return None, None
        above = name.parent()
        while above.is_subdomain(zone.origin):
            wildcard = dns.name.Name((b"*",)).concatenate(above)
            if wildcard in zone.nodes:
                return wildcard, above
            if above in zone.nodes or above == dns.name.root:
                break
            above = above.parent()
        return None, None

    def _put(self, section, zone, owner, rdataset, shown) -> None:
        for each in (rdataset, zone.get_rdataset(owner, "RRSIG", rdataset.rdtype)):
            if each is not None:
                rrset = dns.rrset.from_rdata_list(shown, each.ttl, list(each))
                rrset.covers = each.covers
                section.append(rrset)

    def _say_no(self, made, zone, name, owner) -> None:
        self._put(made.authority, zone, zone.origin, zone.get_rdataset(zone.origin, "SOA"), zone.origin)
        self._deny(made, zone, name, exact=owner is not None)

    def _deny(self, made, zone, name, *, exact: bool) -> None:
        """Every record that could be needed: a client takes what proves something."""
        for owner, node in zone.nodes.items():
            for kind in ("NSEC", "NSEC3"):
                rdataset = node.get_rdataset(dns.rdataclass.IN, dns.rdatatype.from_text(kind))
                if rdataset is not None:
                    self._put(made.authority, zone, owner, rdataset, owner)
