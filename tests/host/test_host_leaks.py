"""What leaves by the uplink while a tunnel comes up, is up, dies and goes: real packets, seen at the wire's far end."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest
from host_lab import SETTINGS, run, way
from tun_lab import wait_readable
from witness import Witness, witnessed

from tunflow.errors import LocalError
from tunflow.host.network import firewall, network
from tunflow.host.network.network import HostNetwork, undo_recorded
from tunflow.host.network.settings import MARK, HostDNS, HostSettings
from tunflow.host.network.state_file import load, save

SO_BINDTODEVICE, SO_MARK = 25, 36
IP_UNICAST_IF = 50
SERVER = "203.0.113.5"
STRICT = replace(SETTINGS, kill_switch=True, servers=(ip_address(SERVER),))


@pytest.fixture
def witness() -> Iterator[Witness]:
    with witnessed() as made:
        yield made


def _send(
    kind: int,
    protocol: int,
    destination: str,
    port: int = 0,
    device: str = "",
    mark: int = 0,
    payload: bytes = b"x" * 8,
) -> None:
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, kind, protocol) as sock:
        sock.setblocking(False)
        if device:
            sock.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, device.encode())
        if mark:
            sock.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
        if kind == socket.SOCK_STREAM:
            sock.connect((destination, port))
        else:
            sock.sendto(payload, (destination, port))


def send_mix(*, bound: bool = True) -> None:
    """What a machine sends in a day: TCP, UDP, DNS both ways, ping, odd protocols, both families, bound sockets."""
    echo4, echo6 = struct.pack("!BBHHH", 8, 0, 0xF7FF, 0, 0), struct.pack("!BBHHH", 128, 0, 0, 0, 0)
    for device in ("", "eth0") if bound else ("",):
        for destination in ("8.8.8.8", "2600::1", "192.168.1.1", "192.168.1.7", "2001:db8:1::7", SERVER):
            _send(socket.SOCK_STREAM, 0, destination, 443, device)
            _send(socket.SOCK_STREAM, 0, destination, 53, device)
            _send(socket.SOCK_DGRAM, 0, destination, 53, device)
            _send(socket.SOCK_DGRAM, 0, destination, 443, device)
            echo = (socket.IPPROTO_ICMPV6, echo6) if ":" in destination else (socket.IPPROTO_ICMP, echo4)
            _send(socket.SOCK_RAW, echo[0], destination, device=device, payload=echo[1])
            _send(socket.SOCK_RAW, 132, destination, device=device)
    _send(socket.SOCK_DGRAM, 0, "8.8.4.4", 443, mark=MARK)  # our mark alone is no way out either


def test_without_a_tunnel_the_witness_sees_it_all(witness: Witness) -> None:
    send_mix()
    assert witness.seen() >= {"8.8.8.8", "8.8.4.4", "2600::1", "192.168.1.7", "2001:db8:1::7", SERVER}


def test_the_kill_switch_from_first_to_last(witness: Witness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At no step of up and of down, and not when the process dies, does anything leave that is not for the server."""
    for name in ("configure_tunnel", "set_table", "set_rules"):

        def and_then_send(*arguments: object, step: object = getattr(network, name)) -> None:
            send_mix()
            step(*arguments)  # type: ignore[operator]
            send_mix()

        monkeypatch.setattr(network, name, and_then_send)
    remove = firewall.remove
    monkeypatch.setattr(firewall, "remove", lambda: (send_mix(), remove()))
    host_network = HostNetwork(tmp_path / "state")
    host_network.apply(STRICT)
    send_mix()
    host_network.apply(STRICT)
    assert witness.seen() == set()
    _send(socket.SOCK_DGRAM, 0, SERVER, 443, mark=MARK)
    assert witness.seen() == {SERVER}
    host_network.device.close()  # as SIGKILL would
    send_mix()
    assert witness.seen() == set()
    host_network.undo()
    assert witness.seen() == set()
    send_mix()
    assert "8.8.8.8" in witness.seen()


def test_without_it_only_what_binds_itself_goes_around(witness: Witness, tmp_path: Path) -> None:
    host_network = HostNetwork(tmp_path / "state")
    host_network.apply(SETTINGS)
    send_mix(bound=False)
    assert witness.seen() == {"8.8.4.4"}  # marked as our own
    host_network.undo()


@pytest.mark.parametrize("is_dead", [False, True], ids=["undone by itself", "undone after it died"])
@pytest.mark.parametrize("settings", [SETTINGS, STRICT], ids=["", "kill switch"])
def test_what_was_given_to_the_tunnel_leaves_no_other_way_afterwards(
    settings: HostSettings, is_dead: bool, witness: Witness, tmp_path: Path
) -> None:
    """A socket keeps its source address, and the kernel sends from it by whatever route there is, over IPv6."""
    state = tmp_path / "state"
    host_network = HostNetwork(state)
    host_network.apply(settings)
    with contextlib.ExitStack() as stack:
        sockets = []
        for destination in ("2600::1", "8.8.8.8"):
            family = socket.AF_INET6 if ":" in destination else socket.AF_INET
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                sock = stack.enter_context(socket.socket(family, kind))
                sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    sock.connect((destination, 443))
                assert ip_interface(sock.getsockname()[0]).ip in {each.ip for each in settings.addresses}
                sockets.append(sock)
        if is_dead:
            host_network.device.close()  # as SIGKILL would
            record = load(state)
            record.pid = 1  # of somebody else who is gone
            save(record, state)
            assert undo_recorded(state)
        else:
            host_network.undo()
        for sock in sockets:
            with pytest.raises(OSError):  # noqa: PT011 - ECONNABORTED, EPIPE, EDESTADDRREQ
                sock.send(b"for the tunnel")
        assert witness.seen() == set()


def test_the_lan_stays_with_exclude_lan_but_not_its_resolver(witness: Witness, tmp_path: Path) -> None:
    host_network = HostNetwork(tmp_path / "state")
    settings = replace(STRICT, exclude_lan=True, dns=HostDNS((ip_address("198.18.0.2"),)))
    host_network.apply(replace(settings, dns=None))
    send_mix()
    assert witness.seen() == {"192.168.1.1", "192.168.1.7", "2001:db8:1::7"}
    firewall.apply(settings, firewall.Neighbourhood((), ()))
    _send(socket.SOCK_DGRAM, 0, "192.168.1.1", 53)
    _send(socket.SOCK_STREAM, 0, "192.168.1.1", 53)
    assert witness.seen() == set()
    _send(socket.SOCK_DGRAM, 0, "192.168.1.1", 631)
    assert witness.seen() == {"192.168.1.1"}
    host_network.undo()


def _ask_everybody() -> None:
    """Queries as programs and systemd-resolved send them once a DHCP client has named the LAN's resolvers."""
    scope = socket.if_nametoindex("eth0")
    for device in ("", "eth0"):
        for resolver in ("192.168.1.1", "198.51.100.53", "8.8.8.8", "2001:db8:1::1", "2001:db8:e::53", "169.254.7.7"):
            _send(socket.SOCK_DGRAM, 0, resolver, 53, device)
            _send(socket.SOCK_STREAM, 0, resolver, 53, device)
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", ("fe80::1", 53, 0, scope))  # as a router advertisement names it (RFC 8106)
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, IP_UNICAST_IF, socket.htonl(scope))
        sock.sendto(b"x", ("192.168.1.1", 53))


def test_no_query_leaves_whatever_is_excluded(witness: Witness, tmp_path: Path) -> None:
    run("ip -6 neigh add fe80::1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent")
    run("ip route add 169.254.0.0/16 dev eth0; ip neigh add 169.254.7.7 lladdr 02:00:00:00:00:01 dev eth0")
    host_network = HostNetwork(tmp_path / "state")
    excluded = (ip_network("198.51.100.0/24"), ip_network("2001:db8:e::/48"))
    open_lan = replace(SETTINGS, exclude_lan=True, excluded=excluded)
    host_network.apply(open_lan)
    witness.seen()
    _ask_everybody()
    assert witness.seen() >= {"192.168.1.1", "198.51.100.53", "2001:db8:1::1", "fe80::1", "169.254.7.7"}
    for settings in (open_lan, replace(SETTINGS, addresses=SETTINGS.addresses[:1], excluded=excluded), SETTINGS):
        host_network.apply(replace(settings, carry_dns=True))
        witness.seen()
        _ask_everybody()
        assert witness.seen() == set()
    host_network.apply(replace(open_lan, carry_dns=True))
    _drain(host_network)
    _send(socket.SOCK_DGRAM, 0, "192.168.1.1", 53)
    _wait_for(host_network, b"x" * 8)  # carried, not only refused
    _send(socket.SOCK_DGRAM, 0, "192.168.1.1", 631)
    _send(socket.SOCK_DGRAM, 0, "192.168.1.1", 53, mark=MARK)
    assert witness.seen() == {"192.168.1.1"}
    host_network.undo()


def test_a_host_without_nftables_still_carries_queries(
    witness: Witness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: str) -> None:
        raise LocalError("nft refuses the table inet tunflow: Operation not supported")

    monkeypatch.setattr(firewall, "load", refuse)
    host_network = HostNetwork(tmp_path / "state")
    host_network.apply(replace(SETTINGS, exclude_lan=True, carry_dns=True))
    witness.seen()
    _send(socket.SOCK_DGRAM, 0, "192.168.1.1", 53)
    _send(socket.SOCK_STREAM, 0, "2001:db8:1::1", 53)
    assert witness.seen() == set()
    host_network.undo()


def test_resolvers_inside_of_this_machine_are_asked_as_before(witness: Witness, tmp_path: Path) -> None:
    host_network = HostNetwork(tmp_path / "state")
    host_network.apply(replace(SETTINGS, carry_dns=True))
    for address, device in (("172.17.0.9", "docker0"), ("2001:db8:d0::9", "docker0"), ("100.100.1.1", "vpn0")):
        assert way(address, "ipproto", "udp", "dport", "53") == device
    for address in ("192.168.1.1", "8.8.8.8", "2600::1"):
        assert way(address, "ipproto", "tcp", "dport", "53") == "tunflow0"
    host_network.apply(SETTINGS)
    assert "10049" not in run("ip rule; ip -6 rule; ip route show table all")
    host_network.undo()


def test_a_route_that_a_dhcp_server_hands_out_takes_nothing_from_the_tunnel(witness: Witness, tmp_path: Path) -> None:
    """CVE-2024-3661 ("TunnelVision"): more specific routes than the tunnel's, by option 121."""
    host_network = HostNetwork(tmp_path / "state")
    for exclude_lan in (False, True):
        host_network.apply(replace(SETTINGS, exclude_lan=exclude_lan))
        for route in ("0.0.0.0/1", "128.0.0.0/1", "8.8.8.0/24"):
            run(f"ip route add {route} via 192.168.1.1 dev eth0 proto dhcp")
        for _ in range(2):
            send_mix(bound=False)
            assert "8.8.8.8" not in witness.seen()
            host_network.apply(replace(SETTINGS, exclude_lan=exclude_lan))
        run("ip route flush proto dhcp")
    host_network.undo()


def test_only_what_is_included_is_blocked(witness: Witness, tmp_path: Path) -> None:
    host_network = HostNetwork(tmp_path / "state")
    host_network.apply(replace(STRICT, included=(ip_network("8.0.0.0/8"), ip_network("2600::/16"))))
    send_mix()
    assert witness.seen() == {"192.168.1.1", "192.168.1.7", "2001:db8:1::7", SERVER}
    host_network.undo()


def test_dhcp_and_neighbour_discovery_pass(witness: Witness, tmp_path: Path) -> None:
    host_network = HostNetwork(tmp_path / "state")
    host_network.apply(replace(STRICT, servers=(ip_address("2001:db8:1::99"),)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:  # a lease is renewed (RFC 2131 §4.4.5)
        client.bind(("192.168.1.2", 68))
        client.sendto(b"x", ("192.168.1.1", 67))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"eth0")
        client.bind(("::", 546))
        client.sendto(b"x", ("ff02::1:2", 547, 0, socket.if_nametoindex("eth0")))  # RFC 8415 §7.1
    _send(socket.SOCK_DGRAM, 0, "2001:db8:1::99", 443, mark=MARK)  # nobody's neighbour yet: it is solicited
    assert witness.seen(multicast=True) >= {"192.168.1.1", "ff02::1:2", "ff02::1:ff00:99"}
    host_network.undo()


@pytest.mark.parametrize("version", [4, 6])
def test_forwarded_packets_of_containers_go_into_the_tunnel(witness: Witness, tmp_path: Path, version: int) -> None:
    """From a namespace behind the bridge, with the kill switch and without; never by the uplink."""
    outside, address, gateway = {
        4: ("8.8.8.8", "172.17.0.9/16", "172.17.0.1"),
        6: ("2600::1", "2001:db8:d0::9/64", "2001:db8:d0::1"),
    }[version]
    run("sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
    send = f"import socket; s = socket.socket(socket.AF_INET{'6' if version == 6 else ''}, socket.SOCK_DGRAM); "
    send += f"s.sendto(b'hello from inside', ('{outside}', 9999))"
    container = subprocess.Popen(["unshare", "-n", "sleep", "60"])
    try:
        run(f"until [ $(readlink /proc/{container.pid}/ns/net) != $(readlink /proc/self/ns/net) ]; do :; done")
        enter = f"nsenter -n -t {container.pid}"
        run(f"{enter} sysctl -q -w net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0")
        run(f"ip link set inside netns {container.pid}")
        run(f"{enter} ip link set inside up; {enter} ip addr add {address} dev inside; {enter} ip link set lo up")
        run(f"{enter} ip route add default via {gateway}")
        host_network = HostNetwork(tmp_path / "state")
        for settings in (SETTINGS, STRICT):
            host_network.apply(settings)
            _drain(host_network)
            witness.seen()
            run(f'{enter} {sys.executable} -c "{send}"')
            _wait_for(host_network, b"hello from inside")
            assert outside not in witness.seen()
            # And what comes back out of the tunnel reaches it, like what this host itself sends there.
            reached = run(f"{enter} cat /proc/net/snmp /proc/net/snmp6")
            assert run(f"ping -{version} -c1 -W30 {address.partition('/')[0]}")
            assert run(f"{enter} cat /proc/net/snmp /proc/net/snmp6") != reached
        host_network.device.close()
        witness.seen()
        subprocess.run(f'{enter} {sys.executable} -c "{send}"', shell=True, capture_output=True, check=False)
        assert outside not in witness.seen()  # the kill switch holds for them too
        host_network.undo()
    finally:
        container.kill()
        container.wait()


def _wait_for(host_network: HostNetwork, payload: bytes) -> None:
    assert host_network.device is not None
    while True:
        wait_readable(host_network.device)
        if any(payload in packet for packet in _drain(host_network)):
            return


def _drain(host_network: HostNetwork) -> list[bytes]:
    device = host_network.device
    assert device is not None
    found: list[bytes] = []
    while packets := device.read(100):
        found += packets
    return found
