"""Finds a proxy server's addresses while the tunnel is up: past the tunnel, at the resolvers that the network gave us.

The system's resolver then leads into the tunnel, which needs the server to be found first. So queries go by UDP in
sockets with the tunnel's mark to the name servers that the host had before, and has now. Only the first hop's name is
ever looked up so; it is what anybody who watches the network learns from the first packet to the server anyway.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

from tunflow.addresses import ip_address
from tunflow.endpoint import Address
from tunflow.loop.sockets import SocketOptions
from tunflow.outbound.lookup import NoAddress, resolve

PATIENCE = 1.0
"""Seconds for one name server to answer; then the next is asked."""

DNS_PORT = 53
LARGEST = 4096


class ServerNames:
    """Resolves names of servers; `outer` gives the name servers of the network outside the tunnel."""

    def __init__(self, sockets: SocketOptions, outer: Callable[[], Sequence[str]]) -> None:
        self._sockets = sockets
        self._outer = outer

    async def before(self, host: str, port: int) -> tuple[Address, ...]:
        """The addresses as the system sees them, while it is not led into the tunnel. Raises as `resolve` does."""
        return await asyncio.get_running_loop().run_in_executor(None, resolve, host, port)

    async def within(self, host: str, port: int) -> tuple[Address, ...]:
        """The addresses as the network outside says, while the tunnel is up. Raises NoAddress."""
        with suppress(ValueError):
            return (_address(str(ip_address(host, zone=True)), port),)
        why = "no name server is known"
        for server in self._outer():
            try:
                answers = await asyncio.gather(*(self._ask(server, host, kind) for kind in ("AAAA", "A")))
            except (OSError, TimeoutError, ValueError) as error:
                why = f"{server}: {error or 'no answer'}"
                continue
            found = tuple(_address(text, port) for texts in reversed(answers) for text in texts)
            if found:
                return found
            why = f"{server} knows no address"
        raise NoAddress(f"the server's name {host!r} cannot be resolved: {why}")

    async def _ask(self, server: str, host: str, kind: str) -> list[str]:
        """The addresses of one kind. Raises OSError, TimeoutError, or ValueError for an answer that is none."""
        import dns.exception  # noqa: PLC0415 - only when a name is looked up again
        import dns.message  # noqa: PLC0415
        import dns.rdatatype  # noqa: PLC0415

        query = dns.message.make_query(host, kind)
        wanted = dns.rdatatype.from_text(kind)
        loop = asyncio.get_running_loop()
        address = _address(server, DNS_PORT)
        with self._sockets.open(address.family, socket.SOCK_DGRAM) as sock:
            await loop.sock_connect(sock, address.sockaddr)
            await loop.sock_sendall(sock, query.to_wire())
            async with asyncio.timeout(PATIENCE):
                while True:
                    data = await loop.sock_recv(sock, LARGEST)
                    with suppress(dns.exception.DNSException, ValueError):
                        answer = dns.message.from_wire(data)
                        if query.is_response(answer):
                            break
        return [record.to_text() for rrset in answer.answer if rrset.rdtype == wanted for record in rrset]


def _address(text: str, port: int) -> Address:
    if ":" in text:
        host, _, scope = text.partition("%")
        return Address(socket.AF_INET6, (host, port, 0, socket.if_nametoindex(scope) if scope else 0))
    return Address(socket.AF_INET, (text, port))
