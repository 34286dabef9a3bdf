"""A LAN behind this host: its packets go into the tunnel, and what forwarding needs is set and given back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from host_lab import SETTINGS, host, run, snapshot
from tun_lab import wait_readable

from tunflow.errors import LocalError
from tunflow.host.network import sysctls
from tunflow.host.network.network import HostNetwork
from tunflow.wire import ipv4, ipv6, protocols, udp, virtio_net
from tunflow.wire.checksum import transport_checksum

GATEWAY = replace(SETTINGS, gateways=("eth1",))
CLIENT = {4: "192.168.7.9", 6: "2001:db8:7::9"}
OUTSIDE = {4: "8.8.8.8", 6: "2600::1"}
ANY = {4: "socket.AF_INET", 6: "socket.AF_INET6"}


class Client:
    """A host on the LAN behind eth1."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(["unshare", "-n", "sleep", "60"])
        self.enter = f"nsenter -n -t {self.process.pid}"
        run(f"until [ $(readlink /proc/{self.process.pid}/ns/net) != $(readlink /proc/self/ns/net) ]; do :; done")
        run(f"{self.enter} sysctl -q -w net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0")
        run(f"ip link add eth1 type veth peer name eth0 netns {self.process.pid}")
        run("ip link set eth1 up; ip addr add 192.168.7.1/24 dev eth1; ip addr add 2001:db8:7::1/64 dev eth1")
        run(f"{self.enter} ip link set eth0 up; {self.enter} ip link set lo up")
        run(f"{self.enter} ip addr add {CLIENT[4]}/24 dev eth0; {self.enter} ip addr add {CLIENT[6]}/64 dev eth0")
        run(f"{self.enter} ip route add default via 192.168.7.1")
        run(f"{self.enter} ip route add default via 2001:db8:7::1")

    def start(self, script: str) -> subprocess.Popen[str]:
        command = [*self.enter.split(), "python3", "-c", f"import socket\n{script}"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def client() -> Iterator[Client]:
    with host():
        made = Client()
        yield made
        made.process.kill()
        made.process.wait()


@pytest.mark.parametrize("kill_switch", [False, True])
@pytest.mark.parametrize("version", [4, 6])
def test_a_datagram_there_and_back(client: Client, tmp_path: Path, version: int, kill_switch: bool) -> None:
    before = snapshot()
    network = HostNetwork(tmp_path / "state")
    network.apply(replace(GATEWAY, kill_switch=kill_switch))
    device = network.device
    assert device is not None
    asking = client.start(
        f"s = socket.socket({ANY[version]}, socket.SOCK_DGRAM); s.settimeout(60)\n"
        f"s.sendto(b'question', ('{OUTSIDE[version]}', 53)); print(s.recv(99).decode())"
    )
    parse = ipv4.parse_untrusted if version == 4 else ipv6.parse_untrusted
    while True:
        wait_readable(device)
        packets = [packet for packet in device.read(50) if b"question" in packet]
        if packets:
            break
    packet = memoryview(packets[0])[device.vnet_offset :]
    header = parse(packet)
    start = len(packet) - len(b"question") - udp.HEADER_SIZE
    source_port = udp.parse_untrusted(packet[start:]).source_port
    build = ipv4.build if version == 4 else ipv6.build
    head = build(header.dst, header.src, protocols.UDP, udp.HEADER_SIZE + len(b"answer"))
    answer = udp.build(53, source_port, len(b"answer")) + b"answer"
    total = transport_checksum(header.dst, header.src, protocols.UDP, answer)
    answer = udp.build(53, source_port, len(b"answer"), checksum=total) + b"answer"
    device.write([[virtio_net.PLAIN, head, answer]])
    out, _ = asking.communicate(timeout=60)
    assert out == "answer\n"
    network.undo()
    assert snapshot() == before


@pytest.mark.parametrize("kill_switch", [False, True])
def test_the_lan_and_its_dhcp_are_untouched(client: Client, tmp_path: Path, kill_switch: bool) -> None:
    network = HostNetwork(tmp_path / "state")
    network.apply(replace(GATEWAY, kill_switch=kill_switch))
    for version in (4, 6):
        assert run(f"ping -{version} -c1 -W30 {CLIENT[version]}")
        gateway = {4: "192.168.7.1", 6: "2001:db8:7::1"}[version]
        assert run(f"{client.enter} ping -{version} -c1 -W30 {gateway}")
    listening = client.start(
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 68)); s.settimeout(60)\n"
        "print('ready', flush=True); print(s.recv(99).decode())"
    )
    assert listening.stdout is not None
    assert listening.stdout.readline() == "ready\n"
    offer = (  # to the broadcast address, as a DHCP server that serves eth1 (RFC 2131 §4.1)
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(1, 25, b'eth1');"
        "s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1); s.bind(('', 67));"
        "s.sendto(b'offer', ('255.255.255.255', 68))"
    )
    run(f'python3 -c "{offer}"')
    assert listening.communicate(timeout=60)[0] == "offer\n"
    network.undo()


def test_a_gateway_no_more(client: Client, tmp_path: Path) -> None:
    """A reload that takes the gateway away gives its sysctls back, and keeps those that every tunnel needs."""
    run("sysctl -q -w net.ipv4.conf.eth0.rp_filter=1 net.ipv4.conf.all.rp_filter=0")
    before = snapshot()
    network = HostNetwork(tmp_path / "state")
    network.apply(GATEWAY)
    assert sysctls.read("ipv4/conf/eth1/forwarding") == "1"
    network.apply(SETTINGS)
    assert sysctls.read("ipv4/conf/eth1/forwarding") == "0"
    assert sysctls.read("ipv4/conf/all/rp_filter") == "2"
    network.apply(GATEWAY)
    assert sysctls.read("ipv4/conf/eth1/forwarding") == "1"
    network.undo()
    assert snapshot() == before


def test_a_gateway_that_is_not_there_is_one_line(client: Client, tmp_path: Path) -> None:
    before = snapshot()
    with pytest.raises(LocalError, match=r"gateway 'eth7': no such interface; there are docker0, eth0, "):
        HostNetwork(tmp_path / "state").apply(replace(SETTINGS, gateways=("eth7",)))
    assert snapshot() == before


@host()
def test_before_linux_6_17_all_interfaces_forward_and_routers_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    read = sysctls.read
    monkeypatch.setattr(sysctls, "read", lambda name: None if name.endswith("force_forwarding") else read(name))
    run("sysctl -q -w net.ipv6.conf.eth0.accept_ra=1 net.ipv6.conf.docker0.accept_ra=2 net.ipv6.conf.wire0.accept_ra=0")
    run("sysctl -q -w net.ipv6.conf.docker0.forwarding=1")
    before = snapshot()
    changes = sysctls.plan("eth0", ["docker0"])
    assert changes[-1] == ("ipv6/conf/all/forwarding", "1")
    kept = {name for name, value in changes[:-1] if value == "2"}
    assert "ipv6/conf/eth0/accept_ra" in kept
    assert not {"ipv6/conf/docker0/accept_ra", "ipv6/conf/wire0/accept_ra"} & kept
    record = {name: (read(name) or "", value) for name, value in changes}
    for name, value in changes:
        sysctls.write(name, value)
    assert read("ipv6/conf/eth0/forwarding") == "1"
    sysctls.restore(record)
    assert snapshot() == before
    assert read("ipv6/conf/docker0/forwarding") == "1"


@host()
def test_what_somebody_else_has_set_since_is_theirs() -> None:
    name = "ipv4/conf/all/rp_filter"
    sysctls.write(name, "1")
    sysctls.restore({name: ("0", "2")})
    assert sysctls.read(name) == "1"
    sysctls.restore({name: ("0", "1"), "ipv4/conf/gone/forwarding": ("0", "1")})
    assert sysctls.read(name) == "0"
