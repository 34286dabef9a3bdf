"""Answers that no resolver is asked for: `hosts`, `localhost`, fake addresses, and names that are to stay unknown.

The first that applies counts: `hosts`, `localhost` (RFC 6761 §6.3), resolvers' offers to be asked otherwise (RFC 9462),
the names of public resolvers when encrypted DNS is to stay out, reverse names of fake addresses, fake addresses.
"""

from __future__ import annotations

from tunflow.dns import replies
from tunflow.dns.answers import AAAA, HTTPS, NO_SUCH_NAME, PTR, SVCB, A
from tunflow.dns.fake_ip import FakeIPMap
from tunflow.dns.messages import REFUSED, Query, bad_version, failure
from tunflow.dns.names import reverse_address, wire_of
from tunflow.dns.resolver_plan import ResolverPlan

FAKE_TTL = 1
"""Seconds for which a client may keep a fake address: its name may lose it."""
HOST_TTL = 60
"""Seconds for which a client may keep what `hosts` says."""
LONGEST_QUERY_TYPE = 251
"""IXFR and AXFR (RFC 5936) are between servers."""

_LOOPBACK = (bytes([127, 0, 0, 1]), bytes(15) + b"\1")
"""Of localhost and all names below it (RFC 6761 §6.3)."""


def local_answer(plan: ResolverPlan, fake: FakeIPMap | None, query: Query, name: str) -> bytes | None:
    """The answer to `query` (for `name`, in lower case, as text), or None if it must be looked up."""
    kind = query.kind
    if query.edns_version:
        return bad_version(query)
    if query.question[-2:] != b"\0\1":
        return replies.nothing(query, NO_SUCH_NAME) if plan.stays(name, kind) else None
    if LONGEST_QUERY_TYPE <= kind <= LONGEST_QUERY_TYPE + 1:
        return failure(query, REFUSED)
    hosts = hosts_of(plan, name)
    if hosts is not None:
        return replies.addresses(query, hosts, HOST_TTL)
    if kind == PTR and reverse_address(query.name) in _LOOPBACK:
        return replies.pointer(query, wire_of("localhost"), HOST_TTL)
    if name.endswith("resolver.arpa"):
        return replies.nothing(query)
    if plan.hidden(name):
        return replies.nothing(query, NO_SUCH_NAME)
    if plan.stays(name, kind):
        return replies.nothing(query, NO_SUCH_NAME)
    if plan.hides(name, kind):
        return replies.nothing(query)
    return _fake_answer(plan, fake, query, name) if fake is not None else None


def hosts_of(plan: ResolverPlan, name: str) -> tuple[bytes, ...] | None:
    """The addresses that a name has here, packed; None where it has none of its own."""
    return plan.hosts.get(name) or (_LOOPBACK if name == "localhost" or name.endswith(".localhost") else None)


def _fake_answer(plan: ResolverPlan, fake: FakeIPMap, query: Query, name: str) -> bytes | None:
    """The answer that the map of fake addresses gives."""
    kind = query.kind
    if kind == PTR:
        address = reverse_address(query.name)
        if address is None or address not in fake:
            return None
        meant = fake.name_of(address)
        if meant is None:
            return replies.nothing(query, NO_SUCH_NAME)
        return replies.pointer(query, wire_of(meant), FAKE_TTL)
    if kind not in {A, AAAA, HTTPS, SVCB} or not plan.gives_fake:
        return None
    if "." not in name or "\\" in name or plan.must_be_real(name):
        return None
    if kind in {HTTPS, SVCB}:  # its address hints would be real ones (RFC 9460 §7.3)
        return replies.nothing(query)
    return replies.addresses(query, fake.addresses(name), FAKE_TTL)
