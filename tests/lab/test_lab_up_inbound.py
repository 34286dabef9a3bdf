"""Connections from outside to a host whose tunnel is up: `up` may be typed in one of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.netlab.namespaces import SERVER4, SITE4
from lab_spy import TO_SHADOWSOCKS
from lab_system import System
from lab_uplinks import BEHIND4, FIRST4, FIRST6, SECOND4, UplinkLab, until

pytestmark = pytest.mark.lab

PORT = 2222
SPEAKS = f"TCP6-LISTEN:{PORT},ipv6only=0,fork,reuseaddr"
SHELL = "SYSTEM:echo one; sleep 3; echo two; cat"
"""Speaks first, and again once the tunnel is up: the first packet after that is this host's."""


@pytest.fixture(autouse=True)
def shell(uplinks: UplinkLab) -> Iterator[None]:
    with uplinks.start(uplinks.client, ["socat", SPEAKS, SHELL]) as server:
        server.wait_listening(PORT)
        yield


def talk(uplinks: UplinkLab, address: str) -> str:
    """What a client outside hears that types a line."""
    typing = f"(echo typed; sleep 4) | socat -t 5 - TCP:{address}:{PORT},connect-timeout=30"
    return uplinks.server.run(["timeout", "60", "sh", "-c", typing], check=False).stdout


@pytest.mark.parametrize("address", [FIRST4, f"[{FIRST6}]"])
def test_a_session_that_up_is_typed_in_goes_on(uplinks: UplinkLab, system: System, address: str) -> None:
    typing = f"(sleep 5; echo typed; sleep 1) | socat -t 5 - TCP:{address}:{PORT}"
    with uplinks.start(uplinks.server, ["sh", "-c", typing]) as session:
        until(lambda: "one" in session.output())
        system.up()
        until(lambda: session.output().split() == ["one", "two", "typed"])
        assert system.fetch(f"http://{SITE4}/1k") == 1024
        system.ok("down")


def test_who_connects_from_outside_is_answered_the_way_he_came(uplinks: UplinkLab, system: System) -> None:
    before = system.snapshot()
    system.up()
    for address in (FIRST4, f"[{FIRST6}]"):
        assert talk(uplinks, address).split() == ["one", "two", "typed"], address
    for address in (FIRST4, FIRST6, SECOND4):
        is_reached = address != SECOND4  # eth2 is no uplink
        done = uplinks.server.run(["ping", "-c1", "-W30" if is_reached else "-W2", address], check=False)
        assert (done.returncode == 0) is is_reached, address
    assert system.fetch(f"http://{SITE4}/1k") == 1024
    system.ok("down")
    assert system.snapshot() == before


def test_the_kill_switch_lets_no_answer_out(uplinks: UplinkLab, system: System) -> None:
    system.up("--kill-switch")
    with uplinks.spied() as leaks:
        assert talk(uplinks, FIRST4) == ""
    assert leaks == []


def test_the_kill_switch_lets_out_the_session_that_up_is_typed_in_and_no_other(
    uplinks: UplinkLab, system: System, tmp_path: Path
) -> None:
    """As sshd names it. A second connection that is as old, and a new one, are not answered."""
    before = system.snapshot()
    typing = "(until [ -e {}/type ]; do sleep 0.1; done; echo typed; sleep 2) | socat -t 5 - TCP:{}:{},bind={}:{}"
    own, other = (["sh", "-c", typing.format(tmp_path, FIRST4, PORT, SERVER4, port)] for port in (50022, 50023))
    allowed = f"(({TO_SHADOWSOCKS}) or (dst host {SERVER4} and tcp src port {PORT} and dst port 50022))"
    with uplinks.start(uplinks.server, own) as session, uplinks.start(uplinks.server, other) as older:
        until(lambda: "one" in session.output() and "one" in older.output())
        system.env["SSH_CONNECTION"] = f"{SERVER4} 50022 {FIRST4} {PORT}"
        system.up("--kill-switch")
        with uplinks.spied(allowed) as leaks:
            (tmp_path / "type").touch()
            until(lambda: "typed" in session.output())
            connect = ["socat", "-u", f"TCP:{FIRST4}:{PORT},connect-timeout=1", "STDOUT"]
            assert uplinks.server.run(connect, check=False).stdout == ""
        assert leaks == []
        assert "typed" not in older.output()
        assert f"the ssh session from {SERVER4} is answered around the tunnel" in system.log()
        system.ok("down")
    assert system.snapshot() == before


def test_a_published_port_of_a_container_is_reached(uplinks: UplinkLab, system: System) -> None:
    rules = (
        "add table ip published; add chain ip published pre { type nat hook prerouting priority dstnat; };"
        f"add rule ip published pre iifname eth1 tcp dport 8080 dnat to {BEHIND4}:{PORT}"
    )
    uplinks.client.run(["nft", rules])
    uplinks.client.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
    try:
        with uplinks.start(
            uplinks.behind, ["socat", f"TCP-LISTEN:{PORT},fork,reuseaddr", "SYSTEM:echo hello"]
        ) as inner:
            inner.wait_listening(PORT)
            system.up()
            fetched = uplinks.server.run(
                ["socat", "-t", "3", "-", f"TCP:{FIRST4}:8080,connect-timeout=30"], check=False
            )
            assert fetched.stdout == "hello\n"
            system.ok("down")
    finally:
        uplinks.client.run(["nft", "delete table ip published"])
        uplinks.client.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=0"])


def test_a_connection_of_our_own_from_before_does_not_go_on_around_the_tunnel(
    uplinks: UplinkLab, system: System, tmp_path: Path
) -> None:
    """However long `up` takes: the far side speaks once it is up."""
    late = f"SYSTEM:until [ -e {tmp_path}/up ]; do sleep 0.1; done; echo late; touch {tmp_path}/said; sleep 30"
    listener = ["socat", f"TCP-LISTEN:{PORT},bind={SERVER4},reuseaddr", late]
    with uplinks.start(uplinks.server, listener) as server:
        server.wait_listening(PORT)
        with uplinks.start(uplinks.client, ["socat", "-u", f"TCP:{SERVER4}:{PORT}", "STDOUT"]) as old:
            until(lambda: "ESTAB" in system.run(["ss", "-tn", "dst", SERVER4]).stdout)
            with uplinks.spied() as leaks:
                system.up()
                (tmp_path / "up").touch()
                until((tmp_path / "said").exists, 30)
                old.popen.wait(30)
    # What the far side sent is acknowledged by nobody outside of the tunnel.
    assert not any(f"> {SERVER4}.{PORT}" in line for line in leaks), leaks
