"""The macOS side against recorded calls: no Mac is needed, and none has seen it yet."""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest

from tunflow.errors import LocalError
from tunflow.host.macos import network, utun
from tunflow.host.macos.commands import UndoableCommand
from tunflow.host.macos.network import MacNetwork, undo_recorded
from tunflow.host.network.settings import HostDNS, HostSettings
from tunflow.host.network.system import open_network
from tunflow.wire import virtio_net

SETTINGS = HostSettings(
    addresses=(ip_interface("198.18.0.1/30"), ip_interface("fd74:756e:666c:6f77::1/126")),
    excluded=(ip_network("192.0.2.0/24"),),
    servers=(ip_address("203.0.113.5"),),
    dns=HostDNS((ip_address("198.18.0.2"),)),
)


class Control:
    """A kernel control socket that is one end of a socket pair, and what was asked of it."""

    def __init__(self, calls: list[Any], error: int = 0) -> None:
        self._calls = calls
        self._error = error
        self.ours, self.kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def __call__(self, *arguments: int) -> Control:
        self._calls.append(("socket", *arguments))
        return self

    def connect(self, address: tuple[int, int]) -> None:
        self._calls.append(("connect", address))
        if self._error:
            raise OSError(self._error, "refused")

    def setblocking(self, flag: bool) -> None:
        self.ours.setblocking(flag)

    def getsockopt(self, *arguments: int) -> bytes:
        self._calls.append(("getsockopt", *arguments))
        return b"utun7\0"

    def detach(self) -> int:
        return self.ours.detach()

    def close(self) -> None:
        self._calls.append("close")
        self.ours.close()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    made: list[Any] = []
    _install(monkeypatch, Control(made), made)
    return made


def _install(monkeypatch: pytest.MonkeyPatch, control: Control, calls: list[Any]) -> None:
    def ioctl(_: Control, number: int, data: bytes) -> bytes:
        calls.append(("ioctl", number, data[:4] + data[4:].partition(b"\0")[0]))
        return struct.pack("I96s", 5, b"com.apple.net.utun_control")

    monkeypatch.setattr(utun, "ioctl", ioctl)
    monkeypatch.setattr(utun.socket, "socket", control)


def test_the_calls_that_make_a_device(calls: list[Any]) -> None:
    device = utun.UtunDevice.open("utun7")
    assert (device.name, device.mtu, device.vnet_offset) == ("utun7", 65535, 0)
    assert calls == [
        ("socket", 32, socket.SOCK_DGRAM, 2),  # PF_SYSTEM, SYSPROTO_CONTROL
        ("ioctl", 0xC0644E03, b"\0\0\0\0com.apple.net.utun_control"),  # CTLIOCGINFO
        ("connect", (5, 8)),  # unit: the number and one
        ("getsockopt", 2, 2, 16),  # UTUN_OPT_IFNAME
    ]
    device.close()


def test_the_next_free_one_is_unit_zero(calls: list[Any]) -> None:
    utun.UtunDevice.open().close()
    assert ("connect", (5, 0)) in calls


@pytest.mark.parametrize("name", ["tunflow0", "utun-1", "utun1x", ""])
def test_a_name_that_macos_does_not_know(name: str) -> None:
    with pytest.raises(LocalError, match=r"macOS calls tunnel devices utun0, utun1"):
        utun.UtunDevice.open(name)


@pytest.mark.parametrize(("number", "said"), [(errno.EPERM, "run tunflow as root"), (errno.EBUSY, "exists already")])
def test_refusals_are_one_line(monkeypatch: pytest.MonkeyPatch, number: int, said: str) -> None:
    calls: list[Any] = []
    _install(monkeypatch, Control(calls, error=number), calls)
    with pytest.raises(LocalError, match=said):
        utun.UtunDevice.open("utun7")
    assert calls[-1] == "close"


def test_packets_stand_behind_their_family(monkeypatch: pytest.MonkeyPatch) -> None:
    control = Control([])
    kernel = control.kernel
    _install(monkeypatch, control, [])
    device = utun.UtunDevice.open()
    packets = [bytes([0x45]) + bytes(30), bytes([0x60]) + bytes(50)]
    kernel.send(struct.pack("!I", 2) + packets[0])
    kernel.send(struct.pack("!I", 30) + packets[1])
    assert device.read(10) == packets
    assert device.read(10) == []
    assert device.write([[virtio_net.PLAIN, packets[0][:20], packets[0][20:]], [virtio_net.PLAIN, packets[1]]]) == 0
    assert kernel.recv(99) == struct.pack("!I", 2) + packets[0]
    assert kernel.recv(99) == struct.pack("!I", 30) + packets[1]
    assert device.write([[virtio_net.PLAIN, b"\x00" * 40]]) == 1  # neither family
    device.close()
    kernel.close()
    with pytest.raises(EOFError):
        device.read(10)


class Mac:
    """Runs nothing, and remembers what it was told; `fail` is the number of the command that fails."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.fail = 0

    def __call__(self, command: UndoableCommand) -> str:
        if command.argv[:3] == ("route", "-n", "get"):
            if command.argv[3] == "-inet6":
                raise LocalError("route: not in table")
            return "   route to: default\n    gateway: 192.168.1.1\n  interface: en0\n"
        self.ran.append(" ".join(command.argv) + (f" < {command.text}" if command.text else ""))
        if len(self.ran) == self.fail:
            raise LocalError("injected failure")
        return ""


UP = [
    "ifconfig utun7 inet 198.18.0.1 198.18.0.1 netmask 255.255.255.252 alias",
    "ifconfig utun7 inet6 fd74:756e:666c:6f77::1 prefixlen 126 alias",
    "ifconfig utun7 mtu 65535 up",
    "route -q -n add -inet 192.0.2.0/24 -gateway 192.168.1.1",
    "route -q -n add -inet 203.0.113.5/32 -gateway 192.168.1.1",
    "route -q -n add -inet 0.0.0.0/1 -interface utun7",
    "route -q -n add -inet 128.0.0.0/1 -interface utun7",
    "route -q -n add -inet6 ::/1 -interface utun7",
    "route -q -n add -inet6 8000::/1 -interface utun7",
    "scutil < d.init\nd.add ServerAddresses * 198.18.0.2\nd.add SupplementalMatchDomains * \"\"\n"
    "set State:/Network/Service/tunflow/DNS\nquit\n",
]  # fmt: skip
DOWN = [
    "scutil < remove State:/Network/Service/tunflow/DNS\nquit\n",
    "route -q -n delete -inet6 8000::/1 -interface utun7",
    "route -q -n delete -inet6 ::/1 -interface utun7",
    "route -q -n delete -inet 128.0.0.0/1 -interface utun7",
    "route -q -n delete -inet 0.0.0.0/1 -interface utun7",
    "route -q -n delete -inet 203.0.113.5/32 -gateway 192.168.1.1",
    "route -q -n delete -inet 192.0.2.0/24 -gateway 192.168.1.1",
]


def test_up_again_and_down(calls: list[Any], tmp_path: Path) -> None:
    mac = Mac()
    tunnel = MacNetwork(tmp_path / "state", mac)
    tunnel.apply(SETTINGS)
    assert mac.ran == UP
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o600
    tunnel.apply(SETTINGS)
    assert mac.ran == UP
    tunnel.undo()
    assert mac.ran == UP + DOWN
    assert not (tmp_path / "state").exists()
    assert tunnel.device is None


def test_a_change_is_the_difference(calls: list[Any], tmp_path: Path) -> None:
    mac = Mac()
    tunnel = MacNetwork(tmp_path / "state", mac)
    tunnel.apply(SETTINGS)
    mac.ran.clear()
    tunnel.apply(replace(SETTINGS, excluded=(ip_network("198.51.100.0/24"),)))
    assert mac.ran == [
        "route -q -n delete -inet 192.0.2.0/24 -gateway 192.168.1.1",
        "route -q -n add -inet 198.51.100.0/24 -gateway 192.168.1.1",
    ]
    tunnel.undo()


def test_ipv6_without_an_address_is_refused_and_not_leaked(calls: list[Any], tmp_path: Path) -> None:
    mac = Mac()
    tunnel = MacNetwork(tmp_path / "state", mac)
    tunnel.apply(replace(SETTINGS, addresses=SETTINGS.addresses[:1]))
    assert "route -q -n add -inet6 ::/1 ::1 -reject" in mac.ran
    tunnel.undo()


def test_split_dns_names_its_domains(calls: list[Any], tmp_path: Path) -> None:
    mac = Mac()
    dns = HostDNS((ip_address("198.18.0.2"),), search=("home.example",), match=("corp.example",))
    tunnel = MacNetwork(tmp_path / "state", mac)
    tunnel.apply(replace(SETTINGS, dns=dns))
    assert "d.add SearchDomains * home.example\nd.add SupplementalMatchDomains * corp.example\n" in mac.ran[-1]
    tunnel.undo()


@pytest.mark.parametrize("number", range(1, len(UP) + 1))
def test_a_failed_step_is_undone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int) -> None:
    _install(monkeypatch, Control([]), [])
    mac = Mac()
    mac.fail = number
    tunnel = MacNetwork(tmp_path / "state", mac)
    with pytest.raises(LocalError, match="injected failure"):
        tunnel.apply(SETTINGS)
    added = [line for line in mac.ran if " add " in line]
    assert [line for line in mac.ran if " delete " in line] == [
        line.replace(" add ", " delete ") for line in added[::-1]
    ]
    assert not (tmp_path / "state").exists()
    assert tunnel.device is None


def test_down_after_the_process_was_killed(calls: list[Any], tmp_path: Path) -> None:
    mac = Mac()
    MacNetwork(tmp_path / "state", mac).apply(SETTINGS)
    mac.ran.clear()
    mac.fail = 2  # what went with the device
    assert undo_recorded(tmp_path / "state", mac)
    assert mac.ran == DOWN
    assert not undo_recorded(tmp_path / "state", mac)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"tunflow-macos": 2, "undo": []}', '{"tunflow-macos": 1, "undo": [[["rm", "-rf"], ""]]}']
)
def test_a_record_that_is_not_ours_runs_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "state").write_text(text)
    mac = Mac()
    with pytest.raises(LocalError):
        undo_recorded(tmp_path / "state", mac)
    assert mac.ran == []
    assert (tmp_path / "state").read_text() == text


@pytest.mark.parametrize("wanted", [{"kill_switch": True}, {"gateways": ("en1",)}, {"cgroups": ("/a",)}])
def test_what_macos_cannot_do_is_said_at_once(tmp_path: Path, wanted: dict[str, Any]) -> None:
    mac = Mac()
    with pytest.raises(LocalError, match="needs Linux"):
        MacNetwork(tmp_path / "state", mac).apply(replace(SETTINGS, **wanted))
    assert mac.ran == []


def test_each_system_gets_its_own(tmp_path: Path) -> None:
    assert isinstance(open_network(tmp_path / "state", "darwin"), network.MacNetwork)
    assert type(open_network(tmp_path / "state", "linux")).__name__ == "HostNetwork"
    with pytest.raises(LocalError, match="need Linux or macOS, and this is win32"):
        open_network(system="win32")
