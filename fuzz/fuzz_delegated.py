"""Any bytes as a registry's delegated file: country sets or BadPacket."""

from __future__ import annotations

from tunflow.errors import BadPacket
from tunflow.rules.cidr import CIDRSet
from tunflow.rules.delegated import parse_delegated_untrusted

SEEDS = [
    b"2|apnic|20210715|3|19830613|20210714|+1000\napnic|*|ipv4|*|1|summary\napnic|*|ipv6|*|1|summary\n"
    b"apnic|CN|ipv4|1.0.1.0|768|20110414|allocated\napnic|CN|ipv6|2001:250::|35|20000426|allocated\n# end\n",
    b"2.3|apnic|1|1|||+1000\r\napnic||ipv4|10.0.0.0|256||reserved|e\r\n",
]


def one_input(data: bytes) -> None:
    """Parse; what comes out is a set that its own prefixes make again."""
    try:
        countries = parse_delegated_untrusted(data)
    except BadPacket:
        return
    for addresses in countries.values():
        assert CIDRSet(addresses.networks()) == addresses
