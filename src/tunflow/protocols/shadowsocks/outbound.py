"""The way out through a Shadowsocks server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

from tunflow.endpoint import Endpoint, endpoint
from tunflow.flow import FlowInfo
from tunflow.protocols.codec import DatagramCodec, StreamCodec, StreamDatagramCodec
from tunflow.protocols.contract import OutboundContext
from tunflow.protocols.server_outbound import Frames, ServerOutbound, StreamTo
from tunflow.protocols.shadowsocks.datagram import Datagrams
from tunflow.protocols.shadowsocks.keys import master_key
from tunflow.protocols.shadowsocks.keys2022 import parse_keys
from tunflow.protocols.shadowsocks.methods import METHODS
from tunflow.protocols.shadowsocks.replay import ReplayFilter
from tunflow.protocols.shadowsocks.stream import ClientStream


class Server(Protocol):
    """What is needed of the settings."""

    @property
    def label(self) -> str:
        """The server as logs name it."""

    @property
    def host(self) -> str:
        """An address or a name."""

    @property
    def port(self) -> int:
        """1 to 65535."""

    @property
    def method(self) -> str:
        """The canonical name."""

    @property
    def password(self) -> str:
        """The password, or the keys of a 2022 method."""

    @property
    def udp(self) -> bool:
        """True if UDP goes there."""

    @property
    def udp_over_tcp(self) -> int:
        """The version of UDP over TCP, 0 for none."""

    @property
    def plugin(self) -> str:
        """As SIP003 has it, "" for none."""


def outbound(server: Server, context: OutboundContext) -> ServerOutbound:
    """As `Settings.outbound`. Raises LocalError for a 2022 password that is no key."""
    where = endpoint(server.host, server.port)
    if METHODS[server.method].is_2022:
        codecs = Codecs2022(server, context)
        return _made(server, where, context, codecs.stream, codecs.datagrams)
    method = METHODS[server.method]
    key = master_key(server.password, method.key_size)
    random_bytes = context.random_bytes
    datagrams = Datagrams(method, key, random_bytes, ReplayFilter())

    def stream(target: Endpoint, _flow: FlowInfo | None) -> StreamCodec:
        return ClientStream(method, key, target, random_bytes(method.salt_size))

    return _made(server, where, context, stream, lambda: datagrams)


def _made(
    server: Server,
    where: Endpoint,
    context: OutboundContext,
    stream: StreamTo,
    datagrams: Callable[[], DatagramCodec],
) -> ServerOutbound:
    """The way out, with the datagrams that the settings want."""
    if server.plugin:
        context, stream = _behind_plugin(server, where, context, stream)

    # Plugins carry no datagrams: beside one, they would be what it was to hide.
    if not server.udp or (server.plugin and not server.udp_over_tcp):
        return ServerOutbound(server.label, where, context, stream)
    version = server.udp_over_tcp
    if not version:
        return ServerOutbound(server.label, where, context, stream, datagrams)
    from tunflow.protocols.udp_over_tcp import MAGIC_NAMES, UDPOverTCP  # noqa: PLC0415

    def begin(target: Endpoint) -> tuple[StreamCodec, StreamDatagramCodec]:
        return stream(Endpoint(MAGIC_NAMES[version], 0), None), UDPOverTCP(version, target)

    return ServerOutbound(server.label, where, context, stream, frames=Frames(begin))


def _behind_plugin(
    server: Server, where: Endpoint, context: OutboundContext, bare: StreamTo
) -> tuple[OutboundContext, StreamTo]:
    """What lies below a server behind a plugin, and its streams. Raises LocalError for a program that is not there."""
    from tunflow.protocols.shadowsocks.plugin import plugin_layers, program_of  # noqa: PLC0415 (which few need)

    program = program_of(server.plugin)
    if program is not None:
        below = context.session_keeper(server.label).over_program(program, where, context.below)
        return replace(context, below=below), bare
    layers = plugin_layers(server.plugin, (server.host, server.port), context)
    return context, lambda target, flow: layers.under(bare(target, flow))


class Codecs2022:
    """Makes the codecs of the 2022 edition. Raises LocalError for a password that is no key.

    They are imported when first used: `ss://` of the other edition starts without BLAKE3.
    """

    def __init__(self, server: Server, context: OutboundContext) -> None:
        method = METHODS[server.method]
        keys = parse_keys(server.password, method.key_size, many=method.has_identities)
        from tunflow.protocols.shadowsocks.datagram2022 import ClientDatagrams2022  # noqa: PLC0415
        from tunflow.protocols.shadowsocks.stream2022 import ClientStream2022  # noqa: PLC0415

        self._stream = partial(ClientStream2022, method, keys)
        self._random_bytes, self._unix_time = context.random_bytes, context.unix_time
        self._datagrams = partial(ClientDatagrams2022, method, keys, context.random_bytes, context.unix_time)

    def stream(self, target: Endpoint, _flow: FlowInfo | None) -> StreamCodec:
        """As `server_outbound.StreamTo`."""
        return self._stream(target, self._random_bytes, self._unix_time)

    def datagrams(self) -> DatagramCodec:
        """A session of its own."""
        return self._datagrams()
