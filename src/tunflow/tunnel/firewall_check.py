"""Checks that packets pass between this host's programs and the tunnel's device.

A firewall of the host's that knows nothing of the device may drop what goes into it or comes out: then the tunnel is
up, its servers answer, and nothing works. So a connection is made to the tunnel's own address, as any program would,
which the stack answers at once, be it by a reset.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterable

from tunflow.addresses import ip_address

DNS_PORT = 53

_PASSED = frozenset((errno.ECONNREFUSED, errno.ECONNRESET))
_NO_SUCH_FAMILY = frozenset((errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENETUNREACH, errno.EHOSTUNREACH))
"""IPv6 is switched off here: nothing would go in at all."""


async def is_blocked(inside: Iterable[bytes], patience: float, *, names_are_served: bool) -> bool:
    """Return True if nothing is heard from one of the tunnel's own addresses within `patience` seconds.

    With `names_are_served` port 53 takes connections there, so that a firewall which refuses is told from the stack.
    """
    passed = await asyncio.gather(*(_passes(address, patience, names_are_served) for address in inside))
    return not all(passed)


async def _passes(address: bytes, patience: float, names_are_served: bool) -> bool:
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
            async with asyncio.timeout(patience):
                await asyncio.get_running_loop().sock_connect(sock, (str(ip_address(address)), DNS_PORT))
    except TimeoutError:
        return False
    except OSError as error:
        return error.errno in _NO_SUCH_FAMILY or (error.errno in _PASSED and not names_are_served)
    return True
