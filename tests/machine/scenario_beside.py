"""Others who use the kernel's network beside us: its WireGuard as a peer, its IPsec, containers on a bridge."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.machine.emulated import Machine
from tests.machine.installed import PATIENCE, PROFILE, installed
from tests.machine.world import SITE4, forget_sights, sights

BOX = "172.17.0.2"
BRIDGE = """
netns add box
link add docker0 type bridge
addr add 172.17.0.1/16 dev docker0
link set docker0 up
link add box0 type veth peer name eth0 netns box
link set box0 master docker0 up
"""
RULES = """
table ip lab-nat {
  chain postrouting {
    type nat hook postrouting priority srcnat
    ip saddr 172.17.0.0/16 oifname != "docker0" masquerade
  }
}
table ip lab-filter {
  chain forward {
    type filter hook forward priority filter; policy drop
    iifname "docker0" accept
    oifname "docker0" ct state established,related accept
  }
}
"""
"""What Docker asks of nftables."""

WIREGUARD = """
cd /run/lab
wg genkey >here.key
wg genkey >there.key
ip -n world link add wg0 type wireguard
ip netns exec world wg set wg0 listen-port 51820 private-key there.key \\
  peer "$(wg pubkey <here.key)" allowed-ips 10.9.0.2/32,fd09::2/128
ip -n world addr add 10.9.0.1/24 dev wg0
ip -n world addr add fd09::1/64 dev wg0 nodad
ip -n world link set wg0 up
cat >/tmp/wg.conf <<END
[Interface]
PrivateKey = $(cat here.key)
Address = 10.9.0.2/32, fd09::2/128
[Peer]
PublicKey = $(wg pubkey <there.key)
Endpoint = 192.0.2.1:51820
AllowedIPs = 0.0.0.0/0, ::/0
END
chmod 644 /tmp/wg.conf
"""
"""The kernel is the peer, in the namespace `world`."""

OFFICE, INNER = "10.88.0.1", "10.88.1.2"
IPSEC = f"""
here=$(ip -4 -o addr show lan0 | sed 's/.*inet \\([0-9.]*\\).*/\\1/')
there=192.0.2.1
key=0x$(printf %040d 7)
ip -n world addr add {OFFICE}/32 dev lo
ip -n world route add {INNER}/32 via "$here"
for network in "ip" "ip -n world"; do
  $network xfrm state add src "$here" dst $there proto esp spi 0x100 mode tunnel aead 'rfc4106(gcm(aes))' "$key" 128
  $network xfrm state add src $there dst "$here" proto esp spi 0x101 mode tunnel aead 'rfc4106(gcm(aes))' "$key" 128
done
out="src {INNER}/32 dst 10.88.0.0/24"
back="src 10.88.0.0/24 dst {INNER}/32"
ip xfrm policy add $out dir out tmpl src "$here" dst $there proto esp mode tunnel
ip xfrm policy add $back dir in tmpl src $there dst "$here" proto esp mode tunnel
ip -n world xfrm policy add $out dir in tmpl src "$here" dst $there proto esp mode tunnel
ip -n world xfrm policy add $back dir out tmpl src $there dst "$here" proto esp mode tunnel
ip addr add {INNER}/32 dev lan0
ip route add 10.88.0.0/24 via $there dev lan0 src {INNER} table 220
ip rule add priority 220 lookup 220
"""
"""What charon asks of the kernel for a network behind a gateway, and the gateway in the namespace `world`."""
NO_IPSEC = f"""
ip rule del priority 220
ip route flush table 220
ip addr del {INNER}/32 dev lan0
ip -n world addr del {OFFICE}/32 dev lo
ip -n world route del {INNER}/32
for network in "ip" "ip -n world"; do $network xfrm policy flush; $network xfrm state flush; done
"""


@pytest.fixture
def box(machine: Machine) -> Iterator[str]:
    """A container's namespace; the command that runs in it."""
    machine.ok("ip", "-batch", "-", stdin=BRIDGE)
    machine.sh(f"ip -n box addr add {BOX}/16 dev eth0; ip -n box link set eth0 up; ip -n box link set lo up")
    machine.sh("ip -n box route add default via 172.17.0.1; sysctl -qw net.ipv4.ip_forward=1")
    machine.ok("nft", "-f", "-", stdin=RULES)
    yield "ip netns exec box"
    machine.sh("nft delete table ip lab-nat; nft delete table ip lab-filter; ip netns del box; ip link del docker0")


def test_a_container_goes_through_the_tunnel(machine: Machine, box: str) -> None:
    ask = f"{box} curl -sS -m 20 http://{SITE4}/"
    assert machine.until(ask, "hello", PATIENCE).strip() != f"hello {SITE4}"  # its own address: past any tunnel
    with installed(machine):
        forget_sights(machine)
        assert machine.until(ask, "hello", PATIENCE).strip() == f"hello {SITE4}"
        assert not [each for each in sights(machine) if each.target == SITE4]
        machine.sh("kill -STOP $(systemctl show -P MainPID tunflow.service)")
        machine.sh("kill -9 $(cat /proc/$(systemctl show -P MainPID tunflow.service)/task/*/children)")
        assert machine.run("sh", "-c", f"{box} curl -sS -m 5 http://{SITE4}/").status != 0
        assert not [each for each in sights(machine) if each.target == SITE4]
        machine.sh("kill -CONT $(systemctl show -P MainPID tunflow.service)")
        assert machine.until(ask, "hello", PATIENCE).strip() == f"hello {SITE4}"
    assert machine.until(ask, "hello", PATIENCE).strip() != f"hello {SITE4}"


def test_the_kernels_wireguard_is_the_peer(machine: Machine) -> None:
    """As root, and as a user without rights."""
    machine.sh(WIREGUARD)
    forget_sights(machine)
    try:
        ask = f"tunflow run --profile /tmp/wg.conf -- curl -sS -m 60 http://{SITE4}/ http://[fd09::1]/"
        assert machine.ok("sh", "-c", ask, timeout=PATIENCE) == "hello 10.9.0.2\nhello fd09::2\n"
        as_nobody = f"setpriv --reuid nobody --regid nogroup --clear-groups env HOME=/tmp {ask}"
        assert machine.ok("sh", "-c", as_nobody, timeout=PATIENCE) == "hello 10.9.0.2\nhello fd09::2\n"
        seen = {(each.protocol, each.port) for each in sights(machine) if each.target == "192.0.2.1"}
        assert seen - {("1", 0)} == {("udp", 51820)}  # the peer's last word finds nobody: ICMP
        assert "latest handshake" in machine.sh("ip netns exec world wg show wg0")
    finally:
        machine.sh("ip -n world link del wg0; rm /tmp/wg.conf")


def test_the_kernels_ipsec_keeps_its_network(machine: Machine) -> None:
    """What goes in ESP leaves beside the tunnel where the profile says so, and with a kill switch not otherwise."""
    machine.until("ip -4 addr show lan0", "192.0.2.", PATIENCE)
    machine.sh(IPSEC)
    office = f"http://{OFFICE}/"
    try:
        assert machine.until(f"curl -sS -m 20 {office}", "hello", PATIENCE).strip() == f"hello {INNER}"
        kill_switch = "kill_switch = true\n"
        excluded = PROFILE.replace(kill_switch, f'{kill_switch}excluded_routes = ["192.0.2.1/32", "10.88.0.0/24"]\n')
        with installed(machine, excluded):
            forget_sights(machine)
            assert machine.until(f"curl -sS -m 20 {office}", "hello", PATIENCE).strip() == f"hello {INNER}"
            assert "50" in {each.protocol for each in sights(machine) if each.target == "192.0.2.1"}
            assert machine.until(f"curl -sS -m 20 http://{SITE4}/", "hello", PATIENCE).strip() == f"hello {SITE4}"
        with installed(machine):
            forget_sights(machine)
            assert machine.run("curl", "-sS", "-m", "5", office).status != 0
            assert not [each for each in sights(machine) if each.protocol == "50" or each.target == OFFICE]
            assert machine.until(f"curl -sS -m 20 http://{SITE4}/", "hello", PATIENCE).strip() == f"hello {SITE4}"
        assert machine.until(f"curl -sS -m 20 {office}", "hello", PATIENCE).strip() == f"hello {INNER}"
    finally:
        machine.sh(NO_IPSEC)
