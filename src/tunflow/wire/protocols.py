"""The numbers of the protocols above IP that tunflow knows.

Source: https://www.iana.org/assignments/protocol-numbers/
"""

from __future__ import annotations

ICMP = 1
TCP = 6
UDP = 17
ICMPV6 = 58

HOP_BY_HOP = 0
ROUTING = 43
FRAGMENT = 44
ENCAPSULATING_SECURITY = 50
AUTHENTICATION = 51
NO_NEXT_HEADER = 59
DESTINATION_OPTIONS = 60
