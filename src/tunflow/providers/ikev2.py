"""IKEv2/IPsec as a packet tunnel provider: strongSwan's charon speaks, its packets are ours.

Configuration (`provider_configuration`): `link` (`ikev2://…`).

charon runs in namespaces of its own (`charon_namespace`), with its user-space ESP (kernel-libipsec): it needs no
rights, and touches nothing of this machine. Its server is reached by UDP sessions of the provider's (`charon_wan`).
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from base64 import b64decode
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunflow.addresses import ip_network
from tunflow.endpoint import endpoint
from tunflow.errors import LocalError, RemoteError
from tunflow.protocols.ikev2.settings import CHILD, CONNECTION, INLINE, SCHEME, SHAPE, IKEv2Server
from tunflow.protocols.ikev2.vici_message import Section
from tunflow.protocols.link import Link
from tunflow.providers import terminal
from tunflow.providers.charon_namespace import OWN, PEER
from tunflow.providers.charon_program import TELLING, CharonProgram, charon_path, check_namespaces
from tunflow.providers.charon_wan import CharonWan
from tunflow.providers.connections import UDPSession
from tunflow.providers.dns_settings import DNSSettings
from tunflow.providers.ip_settings import IPv4Route, IPv4Settings, IPv6Route, IPv6Settings
from tunflow.providers.network_path import NetworkPath
from tunflow.providers.packet_tunnel import PacketTunnelProvider
from tunflow.providers.program_packets import carry_from_program, carry_to_program
from tunflow.providers.stop_reason import ProviderStopReason
from tunflow.providers.tunnel_settings import PacketTunnelNetworkSettings
from tunflow.providers.vici import Vici

MTU = 1400
"""Of the device that charon makes."""
INITIATE_TIMEOUT = "60000"
"""Milliseconds; without an answer charon gives up before."""

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_REMEDY = f"write the user and the password into the link: {SHAPE}"


class IKEv2Provider(PacketTunnelProvider):
    """A client of an IKEv2 server."""

    _program: CharonProgram | None = None
    _wan: CharonWan | None = None
    _vici: Vici | None = None
    _packets: socket.socket | None = None
    _tasks: tuple[asyncio.Task[object], ...] = ()
    _is_ending = False

    @classmethod
    def require_programs(cls) -> None:
        """As `PacketTunnelProvider.require_programs`."""
        charon_path()
        check_namespaces()

    async def start_tunnel(self, options: Mapping[str, Any] | None) -> None:  # noqa: ARG002
        """Sign in and set the network as the server says. Raises LocalError, RemoteError, OSError."""
        self._server = server = await self._completed(server_of(self.protocol_configuration.provider_configuration))
        messages = load_messages(server)
        changes = self.default_path_changes()
        self._wan = CharonWan(server, self._open_session)
        self._program = CharonProgram(server)
        try:
            await self._wan.open()
            await self._start(self._program, self._wan, messages, changes)
        except BaseException:
            await self._end()
            raise

    async def _start(
        self,
        program: CharonProgram,
        wan: CharonWan,
        messages: list[tuple[str, Section]],
        changes: AsyncIterator[NetworkPath],
    ) -> None:
        ends = await program.start()
        wan.use(ends.wan)
        self._packets = ends.packets
        self._vici = vici = Vici(ends.control, self._on_event)
        self._tasks = (
            self.create_task(vici.run(), name="charon's control"),
            self.create_task(wan.carry_out(), name="from charon to the server"),
            *(self.create_task(wan.carry_in(port), name="from the server to charon") for port in wan.ports),
            self.create_task(self._follow_path(wan, changes), name="network changes"),
        )
        for command, message in messages:
            await vici.request(command, message)
        await vici.register("child-updown")
        try:
            await vici.request("initiate", {"child": CHILD, "ike": CONNECTION, "timeout": INITIATE_TIMEOUT})
        except RemoteError as error:
            raise program.refusal(str(error)) from None
        resolvers = await program.resolvers()
        await self.set_tunnel_network_settings(network_settings(self._server, await self._assigned(vici), resolvers))
        self._tasks = (
            *self._tasks,
            self.create_task(carry_to_program(self.packet_flow, ends.packets), name="packets to charon"),
            self.create_task(carry_from_program(ends.packets, self.packet_flow), name="packets from charon"),
            self.create_task(self._watch(program), name="charon"),
        )

    async def stop_tunnel(self, reason: ProviderStopReason) -> None:  # noqa: ARG002
        """Tell the server that we go."""
        await self._end()

    async def _end(self) -> None:
        self._is_ending = True
        if self._program is not None:
            await self._program.stop()  # while its packets are still carried
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._wan is not None:
            self._wan.close()
        if self._vici is not None:
            self._vici.close()
        if self._packets is not None:
            self._packets.close()

    async def _completed(self, server: IKEv2Server) -> IKEv2Server:
        """The server with what the link does not say asked on the terminal. Raises LocalError."""
        if server.method != "eap":
            return server
        user, password = server.user, server.password
        if user is None:
            user = await terminal.ask(f"{server.label}: user: ", echo=True, remedy=_REMEDY)
        if password is None:
            password = await terminal.ask(f"{server.label}: password of {user}: ", echo=False, remedy=_REMEDY)
        return replace(server, user=user, password=password)

    async def _open_session(self, port: int) -> UDPSession:
        return await self.create_udp_session(endpoint(self._server.host, port))

    async def _assigned(self, vici: Vici) -> Section:
        """What charon says of the tunnel (`list-sa`)."""
        found: list[Section] = []
        self._listed = found
        await vici.register("list-sa")
        await vici.request("list-sas", {"ike": CONNECTION})
        if not found:
            raise RemoteError(f"{self._server.label}: the tunnel went as it came")
        return found[0]

    _listed: list[Section]

    def _on_event(self, name: str, message: Section) -> None:
        ours = message.get(CONNECTION)
        if not isinstance(ours, dict):
            return
        if name == "list-sa":
            self._listed.append(ours)
        elif name == "child-updown" and message.get("up") != "yes" and not self._is_ending:
            self.cancel_tunnel(RemoteError(f"{self._server.label}: the server ended the tunnel, or is silent"))

    async def _watch(self, program: CharonProgram) -> None:
        """The tunnel ends with the program."""
        reason = await program.ended()
        if not self._is_ending:
            self.cancel_tunnel(RemoteError(reason))

    async def _follow_path(self, wan: CharonWan, changes: AsyncIterator[NetworkPath]) -> None:
        """Another network: other sessions, from where the server will see us next."""
        async for path in changes:
            if path.is_satisfied:
                with suppress(OSError):
                    await wan.open()


def server_of(values: Mapping[str, Any]) -> IKEv2Server:
    """What a provider's configuration says. Raises LocalError."""
    scheme, separator, rest = str(values.get("link", "")).partition("://")
    if scheme.lower() != SCHEME or not separator:
        raise LocalError(f"provider_configuration: link is expected, which reads {SHAPE}")
    return IKEv2Server.from_link(Link(SCHEME, rest))


def load_messages(server: IKEv2Server) -> list[tuple[str, Section]]:
    """What charon is told before it starts, with the files that the server names. Raises LocalError."""
    messages: list[tuple[str, Section]] = []
    if server.method != "psk":
        for authority in _certificates(server):
            messages.append(("load-cert", {"type": "X509", "flag": "CA", "data": authority}))
    certificate = None
    if server.certificate is not None and server.key is not None:
        certificate = _certificate(server.certificate)
        key = _text(server.key)
        if "ENCRYPTED" in key:
            raise LocalError(
                f"{_named(server.key)}: the key has a passphrase, which charon is not given: write it without"
            )
        messages.append(("load-key", {"type": "any", "data": key}))
    secret = server.secret()
    if secret is not None:
        messages.append(("load-shared", secret))
    messages.append(("load-conn", server.connection(OWN, PEER, TELLING, certificate)))
    return messages


def _certificates(server: IKEv2Server) -> list[bytes]:
    path = server.ca or ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    found = [ssl.PEM_cert_to_DER_cert(pem) for pem in _CERTIFICATE.findall(_text(path))]
    if not found:
        raise LocalError(f"{_named(path)}: it has no certificate in PEM")
    return found


def _certificate(path: str) -> bytes:
    found = _CERTIFICATE.search(_text(path))
    if found is None:
        raise LocalError(f"{_named(path)}: it has no certificate in PEM")
    return ssl.PEM_cert_to_DER_cert(found[0])


def _named(path: str) -> str:
    return "what the link holds in base64" if path.startswith(INLINE) else path


def _text(path: str) -> str:
    try:
        if path.startswith(INLINE):
            return b64decode(path.removeprefix(INLINE), validate=True).decode("ascii", "replace")
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise LocalError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise LocalError(f"{_named(path)} cannot be read: it is no base64") from None


def network_settings(server: IKEv2Server, assigned: Section, resolvers: Iterable[str]) -> PacketTunnelNetworkSettings:
    """The system's settings for what the server assigned. Raises RemoteError, LocalError."""
    addresses = _texts(assigned.get("local-vips"))
    if not addresses:
        raise RemoteError(f"{server.label}: the server assigned no address")
    children = assigned.get("child-sas")
    networks: list[str] = []
    for child in children.values() if isinstance(children, dict) else ():
        if isinstance(child, dict):
            networks += [network for text in _texts(child.get("remote-ts")) if (network := _network(text))]
    four, six = ([text for text in addresses if (":" in text) == wanted] for wanted in (False, True))
    routes4, routes6 = ([text for text in networks if (":" in text) == wanted] for wanted in (False, True))
    return PacketTunnelNetworkSettings(
        tunnel_remote_address=server.host,
        ipv4_settings=IPv4Settings(
            [f"{text}/32" for text in four], included_routes=[IPv4Route(text) for text in routes4]
        )
        if four
        else None,
        ipv6_settings=IPv6Settings(
            [f"{text}/128" for text in six], included_routes=[IPv6Route(text) for text in routes6]
        )
        if six
        else None,
        dns_settings=DNSSettings(list(resolvers), match_domains=[""]) if resolvers else None,
        mtu=MTU,
    )


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _network(text: str) -> str:
    """A network out of a traffic selector (`10.0.0.0/8[tcp/80]`, ranges are left out)."""
    try:
        return str(ip_network(text.partition("[")[0], strict=False))
    except ValueError:
        return ""
