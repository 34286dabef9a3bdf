"""DNSSEC: whether an answer is what its zone's owner signed, by the chain from a trust anchor down. Without I/O.

dnspython checks each signature; here is which one is to be checked against which key, and what the lack of one means.
A validation is a generator: it yields the questions that it needs answered (name and type), is sent each answer (None
where nobody gave one), and returns a verdict.

Rules: what is signed must be right, and what is not must be proved to be in a zone that need not be; else it is bogus.
A zone whose algorithms nobody here knows is as one without signatures (RFC 4035 §5.2). Zones' keys are kept for as long
as their records live, an hour at most. A validation asks at most `MOST_QUESTIONS` and checks at most `MOST_SIGNATURES`,
so that no answer can keep us busy.

Read first: RFC 4033 to 4035, RFC 5155, RFC 6840, RFC 8198 §4.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from enum import Enum
from typing import Any, NamedTuple, TypeVar

import dns.dnssec
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.name import Name
from dns.rdatatype import ANY, CNAME, DNAME, DNSKEY, DS, NSEC, NSEC3, RRSIG

from tunflow.dns.denial import Denied, Proof
from tunflow.dns.proof import Judged, Judgement, Unproved
from tunflow.dns.questions import EDNS_SIZE
from tunflow.errors import LocalError

T = TypeVar("T")
Question = tuple[Name, int]
Steps = Generator[Question, dns.message.Message | None, T]

ROOT_ANCHORS = (
    ". DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
    ". DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
)
"""The root's keys of 2017 and 2024, as IANA publishes them (RFC 9718)."""
MOST_QUESTIONS = 48
MOST_SIGNATURES = 128
MOST_ZONES = 2000
LONGEST = 3600.0
"""Seconds."""
_SAME_TAG = 4
"""Keys with one number that are tried: more are there to keep validators busy."""
_DIGESTS = {2, 4}
"""SHA-256 and SHA-384; SHA-1 is not enough for DS any more (RFC 8624 §3.3)."""
_ZONE_KEY, _REVOKED = 0x0100, 0x0080
_SECURITY = {RRSIG, NSEC, NSEC3}


class SignatureVerdict(Enum):
    """What an answer is worth."""

    SECURE = "signed"
    INSECURE = "not signed, and need not be"


class _Known(NamedTuple):
    """What is known of a zone, until when: its keys, or None where it need not be signed."""

    expires: float
    keys: dns.rrset.RRset | None


class _Cut(NamedTuple):
    """What a parent says of a name: the digests of a zone's keys, that the zone is not signed, or that none begins."""

    expires: float
    digests: dns.rrset.RRset | None
    begins: bool


class Validator:
    """See the module's rules. `unix_time` gives seconds since 1970."""

    def __init__(self, anchors: Iterable[str], unix_time: Callable[[], float]) -> None:
        """`anchors` are DS records as text: `. DS 20326 8 2 E06D…`. Raises LocalError."""
        self._anchors = parse_anchors(anchors)
        self._time = unix_time
        self._zones: dict[Name, _Known] = {}
        self._cuts: dict[Name, _Cut] = {}

    def steps(self, message: bytes) -> Steps[SignatureVerdict]:
        """Validate a response. Raises Unproved."""
        try:
            read = dns.message.from_wire(message, ignore_trailing=True)
        except (dns.exception.DNSException, ValueError) as error:
            raise Unproved(f"it cannot be read: {type(error).__name__}") from None
        return (yield from _Run(self, read).verdict())

    def anchor_above(self, name: Name) -> Name | None:
        """The nearest name at or above that has an anchor."""
        while name not in self._anchors:
            if name == dns.name.root:
                return None
            name = name.parent()
        return name

    def anchor(self, zone: Name) -> dns.rrset.RRset | None:
        """The anchor at a name."""
        return self._anchors.get(zone)

    @property
    def now(self) -> float:
        """Seconds since 1970."""
        return self._time()

    def zone(self, name: Name) -> _Known | None:
        """What is known of a zone."""
        found = self._zones.get(name)
        return found if found is not None and found.expires > self._time() else None

    def cut(self, name: Name) -> _Cut | None:
        """What is known of a delegation."""
        found = self._cuts.get(name)
        return found if found is not None and found.expires > self._time() else None

    def learn_zone(self, name: Name, keys: dns.rrset.RRset | None, life: float) -> dns.rrset.RRset | None:
        """Keep what was found out about a zone."""
        self._keep(self._zones, name, _Known(self._time() + min(life, LONGEST), keys))
        return keys

    def learn_cut(self, name: Name, digests: dns.rrset.RRset | None, begins: bool, life: float) -> _Cut:
        """Keep what was found out about a delegation."""
        cut = _Cut(self._time() + min(life, LONGEST), digests, begins)
        self._keep(self._cuts, name, cut)
        return cut

    @staticmethod
    def _keep(known: dict[Name, Any], name: Name, value: Any) -> None:
        known.pop(name, None)
        known[name] = value
        if len(known) > MOST_ZONES:
            del known[next(iter(known))]


class Signatures:
    """Judges answers for a resolver by a validator."""

    def __init__(self, validator: Validator) -> None:
        self._validator = validator

    def judge(self, message: bytes, wants_signatures: bool) -> Judgement:
        """As `tunflow.dns.proof.Validation.judge`."""
        return _Judgement(self._validator.steps(message), message, wants_signatures)


class _Judgement:
    """As `tunflow.dns.proof.Judgement`."""

    def __init__(self, steps: Steps[SignatureVerdict], message: bytes, wants_signatures: bool) -> None:
        self._steps = steps
        self._message = message
        self._wants_signatures = wants_signatures

    def go_on(self, answer: bytes | None) -> Judged:
        """As `tunflow.dns.proof.Judgement.go_on`."""
        try:
            name, kind = self._steps.send(_read(answer))
        except StopIteration as done:
            try:
                return Judged(for_answer(self._message, done.value, self._wants_signatures))
            except (dns.exception.DNSException, ValueError) as error:
                raise Unproved(f"it cannot be handed on: {type(error).__name__}") from None
        made = dns.message.make_query(name, dns.rdatatype.RdataType(kind), want_dnssec=True, payload=EDNS_SIZE, id=0)
        made.flags |= dns.flags.CD
        return Judged(None, made.to_wire())


def _read(answer: bytes | None) -> dns.message.Message | None:
    """An answer to a question of ours; None for what cannot be read."""
    if answer is None:
        return None
    try:
        return dns.message.from_wire(answer, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return None


class _Run:
    """One validation."""

    def __init__(self, validator: Validator, message: dns.message.Message) -> None:
        self._validator = validator
        self._message = message
        self._questions = 0
        self._signatures = 0

    def verdict(self) -> Steps[SignatureVerdict]:
        message = self._message
        if len(message.question) != 1:
            raise Unproved("it has no question")
        name, kind = message.question[0].name, message.question[0].rdtype
        if self._validator.anchor_above(name) is None or kind == RRSIG:
            return SignatureVerdict.INSECURE
        verdicts = {SignatureVerdict.SECURE}
        for rrset in message.answer:
            if rrset.rdtype != RRSIG:
                verdicts.add((yield from self._rrset(rrset)))
        name = self._end(name, kind)
        if not any(rrset.name == name and kind in {rrset.rdtype, ANY} for rrset in message.answer):
            verdicts.add((yield from self._denial(name, kind)))
        return SignatureVerdict.INSECURE if SignatureVerdict.INSECURE in verdicts else SignatureVerdict.SECURE

    def _end(self, name: Name, kind: int) -> Name:
        """The name that aliases lead to."""
        for _ in range(len(self._message.answer)):
            alias = _find(self._message.answer, name, CNAME)
            if alias is None or kind in {CNAME, ANY}:
                break
            name = alias[0].target
        return name

    def _ask(self, name: Name, kind: int) -> Steps[dns.message.Message]:
        self._questions += 1
        if self._questions > MOST_QUESTIONS:
            raise Unproved("its chain takes too many questions")
        found = yield name, kind
        if found is None or found.rcode() not in {0, 3}:
            raise Unproved(f"nobody gives {name} {dns.rdatatype.to_text(dns.rdatatype.RdataType(kind))}")
        return found

    # Records that are there.

    def _rrset(self, rrset: dns.rrset.RRset) -> Steps[SignatureVerdict]:
        answer = self._message.answer
        signatures = _signatures(answer, rrset)
        if not signatures:
            if rrset.rdtype == CNAME and _is_of_dname(answer, rrset):
                return SignatureVerdict.SECURE  # made of an alias of all names below, which has a signature of its own
            return (yield from self._unsigned(rrset.name, rrset.rdtype))
        signer = _signer(signatures, rrset.name)
        if rrset.rdtype == DS and signer == rrset.name:
            raise Unproved(f"{rrset.name} signs its own DS")
        keys = yield from self._keys(signer)
        if keys is None:
            return SignatureVerdict.INSECURE
        signature = self._verify(rrset, signatures, keys)
        if signature.labels < len(rrset.name.labels) - 1 - rrset.name.is_wild():
            proof = self._proof(self._message.authority, signer, keys)
            denied = proof.no_exact(rrset.name, signature.labels)
            if denied is Denied.NO:
                raise Unproved(f"a wildcard stands for {rrset.name}, and nothing says that there is no such name")
            return SignatureVerdict.SECURE if denied is Denied.YES else SignatureVerdict.INSECURE
        return SignatureVerdict.SECURE

    def _verify(self, rrset: dns.rrset.RRset, signatures: list[Any], keys: dns.rrset.RRset) -> Any:
        """The signature that holds. Raises Unproved."""
        why = "no key of its zone made its signature"
        for signature in signatures:
            matching = [
                key for key in keys
                if key.algorithm == signature.algorithm and dns.dnssec.key_id(key) == signature.key_tag
            ][:_SAME_TAG]  # fmt: skip
            self._signatures += len(matching)
            if self._signatures > MOST_SIGNATURES:
                raise Unproved("it takes too many signatures")
            if not matching:
                continue
            usable: dict[Name, Any] = {signature.signer: dns.rrset.from_rdata_list(keys.name, keys.ttl, matching)}
            try:
                dns.dnssec.validate_rrsig(rrset, signature, usable, None, self._validator.now)
            except (dns.exception.DNSException, ValueError) as error:
                why = str(error) or type(error).__name__
            else:
                return signature
        raise Unproved(f"{rrset.name} {dns.rdatatype.to_text(rrset.rdtype)}: {why}")

    # Keys.

    def _keys(self, zone: Name) -> Steps[dns.rrset.RRset | None]:
        """A zone's keys, None where it need not be signed. Raises Unproved."""
        known = self._validator.zone(zone)
        if known is not None:
            return known.keys
        digests, life = self._validator.anchor(zone), LONGEST
        if digests is None:
            cut = yield from self._cut(zone)
            if not cut.begins:
                raise Unproved(f"{zone} signs, and is no zone")
            digests, life = cut.digests, cut.expires - self._validator.now
        usable = [each for each in digests or () if each.digest_type in _DIGESTS and _is_known(each.algorithm)]
        if not usable:
            return self._validator.learn_zone(zone, None, life)
        message = yield from self._ask(zone, DNSKEY)
        keys = _find(message.answer, zone, DNSKEY)
        if keys is None:
            raise Unproved(f"{zone} has no keys")
        trusted = [
            key for key in keys if key.flags & _ZONE_KEY and not key.flags & _REVOKED and _is_of(key, usable, zone)
        ]
        if not trusted:
            raise Unproved(f"no key of {zone} is the one that its parent names")
        anchor = dns.rrset.from_rdata_list(zone, keys.ttl, trusted)
        self._verify(keys, _signatures(message.answer, keys), anchor)
        kept = [key for key in keys if key.flags & _ZONE_KEY and not key.flags & _REVOKED]
        return self._validator.learn_zone(zone, dns.rrset.from_rdata_list(zone, keys.ttl, kept), min(life, keys.ttl))

    def _cut(self, name: Name) -> Steps[_Cut]:
        """What stands above a name about a zone that may begin there. Raises Unproved."""
        validator = self._validator
        known = validator.cut(name)
        if known is not None:
            return known
        if name == dns.name.root or validator.anchor_above(name.parent()) is None:
            return validator.learn_cut(name, None, True, LONGEST)
        message = yield from self._ask(name, DS)
        digests = _find(message.answer, name, DS)
        if digests is not None:
            signatures = _signatures(message.answer, digests)
            if not signatures:
                yield from self._unsigned(name.parent(), DNSKEY)
                return validator.learn_cut(name, None, True, digests.ttl)
            signer = _signer(signatures, name)
            if signer == name:
                raise Unproved(f"{name} signs its own DS")
            keys = yield from self._keys(signer)
            if keys is None:
                return validator.learn_cut(name, None, True, digests.ttl)
            self._verify(digests, signatures, keys)
            return validator.learn_cut(name, digests, True, digests.ttl)
        return (yield from self._no_digests(name, message))

    def _no_digests(self, name: Name, message: dns.message.Message) -> Steps[_Cut]:
        """What it means that there is no DS. Raises Unproved."""
        validator = self._validator
        signed = _denials(message.authority)
        if not signed:
            if _find(message.answer, name, CNAME) is not None:
                return validator.learn_cut(name, None, False, 60)  # an alias stands where no zone can begin
            yield from self._unsigned(name.parent(), DNSKEY)
            return validator.learn_cut(name, None, True, 60)
        signer = _signer(_signatures(message.authority, signed[0]), name)
        if signer == name:
            raise Unproved(f"{name} itself says that it has no DS")
        keys = yield from self._keys(signer)
        life = min(rrset.ttl for rrset in signed)
        if keys is None:
            return validator.learn_cut(name, None, True, life)
        proof = self._proof(message.authority, signer, keys)
        denied = Denied.UNSIGNED if proof.is_costly else proof.no_delegation(name)
        if denied is Denied.NO:
            raise Unproved(f"{name} has no DS, and nothing says that it needs none")
        return validator.learn_cut(name, None, denied is Denied.UNSIGNED, life)

    def _unsigned(self, name: Name, kind: int) -> Steps[SignatureVerdict]:
        """INSECURE where a name without signatures is in a zone that need not have some. Raises Unproved."""
        anchor = self._validator.anchor_above(name)
        if anchor is None:
            return SignatureVerdict.INSECURE
        depth = len(anchor.labels)
        last = len(name.labels) - (1 if kind == DS else 0)
        for count in range(depth, last + 1):
            zone = Name(name.labels[-count:])
            if count == depth:
                if (yield from self._keys(zone)) is None:
                    return SignatureVerdict.INSECURE
                continue
            cut = yield from self._cut(zone)
            if cut.begins and (cut.digests is None or (yield from self._keys(zone)) is None):
                return SignatureVerdict.INSECURE
        raise Unproved(f"{name} is not signed, and its zone is")

    # Records that are not there.

    def _denial(self, name: Name, kind: int) -> Steps[SignatureVerdict]:
        message = self._message
        signed = _denials(message.authority)
        if not signed:
            return (yield from self._unsigned(name, kind))
        signer = _signer(_signatures(message.authority, signed[0]), name)
        keys = yield from self._keys(signer)
        if keys is None:
            return SignatureVerdict.INSECURE
        proof = self._proof(message.authority, signer, keys)
        if proof.is_costly:
            return SignatureVerdict.INSECURE
        denied = proof.no_name(name) if message.rcode() == 3 else proof.no_data(name, kind)
        if denied is Denied.NO:
            raise Unproved(
                f"nothing proves that there is no {name} {dns.rdatatype.to_text(dns.rdatatype.RdataType(kind))}"
            )
        return SignatureVerdict.SECURE if denied is Denied.YES else SignatureVerdict.INSECURE

    def _proof(self, section: list[dns.rrset.RRset], zone: Name, keys: dns.rrset.RRset) -> Proof:
        """The records of a zone that say what there is not, all of them signed by it. Raises Unproved."""
        found: dict[int, list[tuple[Name, Any]]] = {NSEC: [], NSEC3: []}
        for rrset in _denials(section):
            if rrset.name.is_subdomain(zone):
                signature = self._verify(rrset, _signatures(section, rrset), keys)
                owner = _signed_owner(rrset.name, signature.labels)
                found[rrset.rdtype] += [(owner, data) for data in rrset]
        return Proof(zone, found[NSEC], found[NSEC3])


def parse_anchors(texts: Iterable[str]) -> Mapping[Name, dns.rrset.RRset]:
    """Trust anchors by their zones. Raises LocalError."""
    found: dict[Name, dns.rrset.RRset] = {}
    for text in texts:
        name, _, rest = text.strip().partition(" ")
        kind, _, data = rest.strip().removeprefix("IN ").partition(" ")
        try:
            if kind.upper() != "DS":
                raise ValueError
            zone = dns.name.from_text(name)
            record = dns.rdata.from_text(dns.rdataclass.IN, DS, data)
            found.setdefault(zone, dns.rrset.RRset(zone, dns.rdataclass.IN, DS)).add(record, int(LONGEST))
        except (dns.exception.DNSException, ValueError):
            raise LocalError(
                f"a trust anchor reads ZONE DS TAG ALGORITHM DIGEST-TYPE DIGEST, not {text[:120]!r}"
            ) from None
    return found


def for_answer(message: bytes, verdict: SignatureVerdict | None, wants_signatures: bool) -> bytes:
    """A response with its AD bit by our verdict, and without signatures if nobody asked for them (RFC 4035 §3.2)."""
    made = bytearray(message)
    if not wants_signatures:
        read = dns.message.from_wire(message, ignore_trailing=True)
        kind = read.question[0].rdtype
        for section in (read.answer, read.authority, read.additional):
            section[:] = [rrset for rrset in section if rrset.rdtype not in _SECURITY or rrset.rdtype == kind]
        made = bytearray(read.to_wire(max_size=65535))
    made[3] = made[3] & ~0x20 | (0x20 if verdict is SignatureVerdict.SECURE else 0)
    return bytes(made)


def _find(section: list[dns.rrset.RRset], name: Name, kind: int) -> dns.rrset.RRset | None:
    return next((rrset for rrset in section if rrset.rdtype == kind and rrset.name == name), None)


def _signatures(section: list[dns.rrset.RRset], rrset: dns.rrset.RRset) -> list[Any]:
    return [
        signature
        for each in section
        if each.rdtype == RRSIG and each.covers == rrset.rdtype and each.name == rrset.name
        for signature in each
    ]


def _signer(signatures: list[Any], name: Name) -> Name:
    """Who signed, at or above `name`. Raises Unproved."""
    for signature in signatures:
        if name.is_subdomain(signature.signer):
            found: Name = signature.signer
            return found
    raise Unproved(f"{name} is signed by who has no say about it")


def _signed_owner(name: Name, labels: int) -> Name:
    """The name that a signature is about: a wildcard, where the record came by another name (RFC 4035 §5.3.2)."""
    if labels >= len(name.labels) - 1 - name.is_wild():
        return name
    return dns.name.Name((b"*", *name.labels[-(labels + 1) :]))


def _denials(section: list[dns.rrset.RRset]) -> list[dns.rrset.RRset]:
    """The signed records that say what there is not."""
    return [rrset for rrset in section if rrset.rdtype in {NSEC, NSEC3} and _signatures(section, rrset)]


def _is_of_dname(section: list[dns.rrset.RRset], alias: dns.rrset.RRset) -> bool:
    """Return True if an alias is what an alias of all names below makes of it."""
    for rrset in section:
        if rrset.rdtype == DNAME and alias.name.is_subdomain(rrset.name) and alias.name != rrset.name:
            target = alias.name.relativize(rrset.name).concatenate(rrset[0].target)
            return bool(alias[0].target == target)
    return False


def _is_of(key: Any, digests: list[Any], zone: Name) -> bool:
    """Return True if a key is one that digests name."""
    tag = dns.dnssec.key_id(key)
    for each in digests:
        if each.key_tag == tag and each.algorithm == key.algorithm:
            try:
                made = dns.dnssec.make_ds(zone, key, each.digest_type, validating=True)
            except (dns.exception.DNSException, ValueError):
                continue
            if made.digest == each.digest:
                return True
    return False


def _is_known(algorithm: int) -> bool:
    """Return True if its signatures can be checked here."""
    return algorithm in {5, 7, 8, 10, 13, 14, 15, 16}
