"""Reaching an OpenVPN server: its addresses, and a way to it, through a proxy where there is one."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

from tunflow.protocols.openvpn.settings import Remote
from tunflow.providers.openvpn_proxy import datagrams_through, stream_through
from tunflow.providers.openvpn_transport import DatagramTransport, PacketTransport, Sockets, StreamTransport

MOST_ADDRESSES = 8
"""Of one name."""


async def open_transport(sockets: Sockets, remote: Remote) -> PacketTransport:
    """A way to a server. Raises OSError."""
    proxy = remote.proxy
    if proxy is not None:
        if remote.transport == "udp":
            return await datagrams_through(sockets, proxy, remote)
        return await stream_through(sockets, proxy, remote)
    if remote.transport == "udp":
        return DatagramTransport(await sockets.create_udp_session(remote.host, remote.port))
    return StreamTransport(await sockets.create_tcp_connection(remote.host, remote.port))


async def resolved(remote: Remote) -> list[Remote]:
    """The same server by each of its addresses, or of its proxy's; as it was when the name is not known now.

    Names are looked up once, before the tunnel is up: later the system's resolver may be behind the tunnel that is to
    be connected again.
    """
    if remote.proxy is not None:
        return [replace(remote, proxy=replace(remote.proxy, host=host)) for host in await _found(remote.proxy.host)]
    return [replace(remote, host=host) for host in await _found(remote.host, remote.version)]


async def _found(host: str, version: int = 0) -> list[str]:
    family = {4: socket.AF_INET, 6: socket.AF_INET6}.get(version, socket.AF_UNSPEC)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, None, family=family, type=socket.SOCK_DGRAM)
    except (OSError, ValueError):  # ValueError: what IDNA cannot encode, or a byte of zeros
        return [host]
    return list(dict.fromkeys(str(each[4][0]) for each in found))[:MOST_ADDRESSES]
