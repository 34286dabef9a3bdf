"""`resolve.py RESOLVER COUNT < NAMES`: ask for the A records of many names, COUNT at a time; a line for each: the name,
then its addresses or what went wrong."""

from __future__ import annotations

import select
import socket
import sys
import time

import dns.message
import dns.rcode
import dns.rdatatype

resolver, at_once = sys.argv[1], int(sys.argv[2])
names = sys.stdin.read().split()
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.connect((resolver, 53))
waiting: dict[int, tuple[str, float, int]] = {}
found: dict[str, str] = {}


def ask(name: str, tries: int) -> None:
    query = dns.message.make_query(name, "A", use_edns=0)
    while query.id in waiting:
        query.id = (query.id + 1) % 65536
    waiting[query.id] = name, time.monotonic() + 5.5, tries
    sock.send(query.to_wire())


left = list(reversed(names))
while left or waiting:
    while left and len(waiting) < at_once:
        ask(left.pop(), 1)
    if select.select([sock], [], [], 0.2)[0]:
        answer = dns.message.from_wire(sock.recv(65535))
        name, _, _ = waiting.pop(answer.id, ("", 0.0, 0))
        if name:
            records = [rrset for rrset in answer.answer if rrset.rdtype == dns.rdatatype.A]
            addresses = sorted(record.address for rrset in records for record in rrset)
            found[name] = " ".join(addresses) or dns.rcode.to_text(answer.rcode())
    for identifier, (name, due, tries) in list(waiting.items()):
        if time.monotonic() > due:
            del waiting[identifier]
            if tries:
                ask(name, tries - 1)
            else:
                found[name] = "TIMEOUT"
for name in names:
    print(name, found[name])
