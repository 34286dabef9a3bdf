"""The lab's own guard: what a file of tests leaves in a lab that others use after it is seen and named."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from bench.netlab.namespaces import NETNS_ETC, SERVER4, Lab
from lab_state import lab_changes, lab_processes, lab_settings, left_running

pytestmark = pytest.mark.lab
ADDRESS = "10.66.0.53/24"


@pytest.fixture(scope="module")
def own(_available: None) -> Iterator[Lab]:
    """A lab that nobody else uses."""
    with Lab() as running:
        yield running


@pytest.mark.parametrize(
    ("change", "undo"),
    [
        (f"ip addr add {ADDRESS} dev eth0", f"ip addr del {ADDRESS} dev eth0"),
        ("ip addr add fd66::53/64 dev eth0 nodad", "ip addr del fd66::53/64 dev eth0"),
        ("ip route add unreachable 203.0.113.0/24", "ip route del unreachable 203.0.113.0/24"),
        ("ip -6 rule add to fd99::/64 table 99", "ip -6 rule del to fd99::/64 table 99"),
        ("ip link add left type veth peer name right", "ip link del left"),
        ("nft add table inet left", "nft delete table inet left"),
        ("tc qdisc add dev eth0 root pfifo limit 9", "tc qdisc del dev eth0 root"),
        ("sysctl -w net.ipv4.ip_forward=1", "sysctl -w net.ipv4.ip_forward=0"),
    ],
)
def test_a_setting_that_is_left_is_named(own: Lab, change: str, undo: str) -> None:
    before = lab_settings(own)
    assert lab_changes(before, lab_settings(own)) == []
    own.server.run(change.split())
    try:
        lines = lab_changes(before, lab_settings(own))
    finally:
        own.server.run(undo.split())
    assert any(line.startswith(f"{own.server.name}: left: ") for line in lines), lines
    assert lab_changes(before, lab_settings(own)) == []


def test_a_file_of_etc_that_is_changed_is_named(own: Lab) -> None:
    before = lab_settings(own)
    file = NETNS_ETC / own.client.name / "resolv.conf"
    was = file.read_text()
    file.write_text("nameserver 192.0.2.53\n")
    try:
        lines = lab_changes(before, lab_settings(own))
    finally:
        file.write_text(was)
    assert f"{own.client.name}: left: nameserver 192.0.2.53" in lines


def test_a_program_that_is_left_is_named_unless_a_server_of_before_forked_it(own: Lab) -> None:
    forking = ["sh", "-c", "echo ready; read line; sleep 49 & echo forked; wait"]
    with own.start(own.server, forking, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.popen.stdin is not None
        assert server.popen.stdout is not None
        assert server.popen.stdout.readline() == b"ready\n"
        before = lab_processes(own)
        left = own.start(own.server, ["sleep", "47"])
        (line,) = left_running(own, before, patience=0.1)
        assert line.endswith("sleep 47")
        left.stop()
        server.popen.stdin.write(b"go\n")
        server.popen.stdin.flush()
        assert server.popen.stdout.readline() == b"forked\n"
        assert own.running("sleep 49") != []
        assert left_running(own, before) == []


def test_what_is_started_in_a_lab_that_is_lent_ends_with_it(own: Lab) -> None:
    before = lab_processes(own)
    with own.lent():
        started = own.start(own.server, ["sleep", "48"])
        assert own.running("sleep 48") != []
    assert started.popen.returncode is not None
    assert left_running(own, before) == []


CLOSES = "from socket import *; c = create_connection((argv[1], 47)); c.recv(9); run(argv[2:], check=True); c.close()"
"""Connects, cuts the wire, and closes the connection: its kernel sends FIN again and again."""


def test_connections_of_what_was_started_in_a_lab_that_is_lent_end_with_it(own: Lab) -> None:
    chain = "add table ip cut; add chain ip cut in { type filter hook input priority 0; }"
    cut = ["nft", f"{chain}; add rule ip cut in ip saddr {SERVER4} drop"]
    with own.lent():
        own.start(own.server, ["socat", "TCP-LISTEN:47", "SYSTEM:echo x; sleep 46"]).wait_listening(47)
        closes = f"from sys import argv; from subprocess import run; {CLOSES}"
        own.client.run(["python3", "-c", closes, SERVER4, *cut])
        assert "FIN-WAIT-1" in own.client.run(["ss", "-tn", "-a"]).stdout
    own.client.run(["nft", "delete table ip cut"])
    for host in own.hosts:
        assert ":47" not in host.run(["ss", "-tn", "-a"]).stdout


def test_addresses_go_with_their_block(own: Lab) -> None:
    before = lab_settings(own)
    with own.server.addressed(ADDRESS, "fd66::53/64", device="eth0"):
        assert lab_changes(before, lab_settings(own)) != []
    assert lab_changes(before, lab_settings(own)) == []
