"""The registry finds protocols, and outbounds are laid on each other."""

import os
import socket
import time

import pytest

from tunflow.endpoint import Address, Endpoint
from tunflow.errors import LocalError
from tunflow.outbound.chain import make_outbound, outbound_of
from tunflow.outbound.direct import DirectOutbound, FirstHop
from tunflow.protocols import registry
from tunflow.protocols.contract import Blocked, Carries, ListensByUDP, NoDatagrams, OutboundContext, Protocol
from tunflow.protocols.registry import parse_server
from tunflow.protocols.server_addresses import ServerAddresses

TARGET = Endpoint("example.com", 443)
FIRST = Address(socket.AF_INET, ("192.0.2.1", 8388))


def find(host, port):
    return ServerAddresses((Address(socket.AF_INET, (host, port)),))


def test_every_built_in_protocol_has_settings_and_a_scheme_of_its_own():
    schemes = [scheme for protocol in registry.built_in() for scheme in protocol.schemes]
    assert len(schemes) == len(set(schemes))
    for protocol in registry.built_in():
        assert registry.settings_of(protocol).from_link
        assert registry.by_name(protocol.name) is protocol
        assert all(registry.by_scheme(scheme) is protocol for scheme in protocol.schemes)


def test_a_chain_is_one_route_to_the_first_server():
    made = outbound_of(["direct://", "ss://aes-128-gcm:p@192.0.2.1:8388", "socks5://192.0.2.2:1080"], find)
    route = made.stream(TARGET)
    assert route.addresses == (FIRST,) == made.server.in_order
    assert route.server is made.server
    assert route.label == made.label == "ss://aes-128-gcm@192.0.2.1:8388 -> socks5://192.0.2.2:1080"
    assert Carries.NAMES in made.carries


def test_what_goes_straight_out_is_reached_through_nothing():
    with pytest.raises(LocalError, match="can only be the first server of a chain"):
        outbound_of(["ss://aes-128-gcm:p@192.0.2.1:8388", "direct://"], find)
    assert isinstance(outbound_of(["direct://", "direct://"]), DirectOutbound)


def test_a_block_in_a_chain_blocks():
    made = outbound_of(["block://", "ss://aes-128-gcm:p@192.0.2.1:8388"], find)
    with pytest.raises(Blocked):
        made.stream(TARGET)


def test_http_carries_no_datagrams_wherever_it_stands():
    made = outbound_of(["http://192.0.2.9:80", "ss://aes-128-gcm:p@192.0.2.1:8388"], find)
    assert Carries.DATAGRAMS not in made.carries
    with pytest.raises(NoDatagrams):
        made.datagrams()


def test_a_packet_tunnel_is_no_hop_where_nobody_runs_one():
    with pytest.raises(LocalError, match="carries packets, which only run, up and attach take apart"):
        make_outbound([parse_server("shadowvpn://p@192.0.2.1:1123")], find)


def test_two_protocols_with_one_scheme_are_told(monkeypatch):
    twin = Protocol("twin", ("ss",), Carries.STREAMS, "ss://", "", "nowhere")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Point(twin)])
    registry.protocols.cache_clear()
    with pytest.raises(LocalError, match="the protocols shadowsocks and twin both have the scheme ss://"):
        registry.protocols()


def test_a_protocol_that_cannot_be_imported_is_told(monkeypatch):
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Point(None)])
    registry.protocols.cache_clear()
    with pytest.raises(LocalError, match=r"the protocol twin .* cannot be imported: no module"):
        registry.protocols()


@pytest.fixture(autouse=True)
def forget():
    yield
    registry.protocols.cache_clear()


class Point:
    name = value = "twin"

    def __init__(self, protocol):
        self._protocol = protocol

    def load(self):
        if self._protocol is None:
            raise ImportError("no module")
        return self._protocol


def test_a_context_is_all_that_settings_need():
    below = FirstHop(ServerAddresses((FIRST,)))
    context = OutboundContext(os.urandom, time.time, lambda: None, find, below)
    for link in ("ss://aes-128-gcm:p@192.0.2.1:8388", "socks5://192.0.2.1", "http://192.0.2.1:1", "tor://"):
        assert parse_server(link).outbound(context).stream(TARGET).addresses == (FIRST,)


def test_a_packet_tunnel_is_a_profile_of_its_own():
    from tunflow.profiles.server_keys import server_keys
    from tunflow.profiles.server_link import ServerLink

    link = "shadowvpn://p@192.0.2.1:1123?net=10.7.0.2/24&mtu=1432"
    assert server_keys([ServerLink.of(link)]) == {
        "provider": "shadowvpn",
        "provider_configuration": {"link": parse_server(link).to_link()},
    }
    direct, tunnel = ServerLink.of("direct://"), ServerLink.of(link)
    assert server_keys([direct]) == {"server": (direct,)}
    assert server_keys([direct, tunnel]) == {"server": (direct, tunnel)}  # a hop of a chain, by a stack


def test_who_takes_no_tcp_says_so():
    """`up` asks the others for a connection before it leads everything to them."""
    user = "01234567-89ab-cdef-0123-456789abcdef"
    for link in ("hysteria2://p@h:1", f"tuic://{user}:p@h:1"):
        server = parse_server(link)
        assert isinstance(server, ListensByUDP)
        assert server.takes_datagrams_only
    assert not isinstance(parse_server("trojan://p@h:1"), ListensByUDP)
