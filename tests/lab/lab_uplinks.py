"""A host with two uplinks: what `tunflow up` meets when the network around it changes.

    L --- lan0  C  eth1 --- R1 --- S
                C  eth2 --- R2 --- S

C's default route leads through R1 until a test changes that. The proxy server and what users visit are at the same
addresses as in the plain lab (`bench.netlab.namespaces`), on S's loopback. L is a host behind C.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench.netlab.namespaces import SERVER4, SERVER6, SITE4, SITE6, Lab, Namespace, ip, ip_lines, nodad
from lab_spy import TO_SHADOWSOCKS, Spy

FIRST4, FIRST6 = "10.61.0.1", "fd61::1"
SECOND4, SECOND6 = "10.62.0.1", "fd62::1"
LAN4, LAN6 = "10.63.0.1", "fd63::1"
BEHIND4, BEHIND6 = "10.63.0.2", "fd63::2"


class UplinkLab(Lab):
    """C, S, two routers between them, and a host behind C."""

    def __init__(self) -> None:
        super().__init__()
        env = self.client.env
        self.routers = [Namespace(f"{self.id}-r{number}", env) for number in (1, 2)]
        self.behind = Namespace(f"{self.id}-l", env)
        self.hosts += [*self.routers, self.behind]

    def join(self) -> None:
        """Connect the hosts as the picture says."""
        c, s = self.client, self.server
        for host in self.hosts:
            ip("-n", host.name, "link", "set", "lo", "up")
        for number, router in enumerate(self.routers, 1):
            self._wire(c, f"eth{number}", f"10.6{number}.0.1/24", f"fd6{number}::1/64",
                       router, "eth0", f"10.6{number}.0.254/24", f"fd6{number}::fe/64")  # fmt: skip
            self._wire(router, "eth1", f"10.7{number}.0.254/24", f"fd7{number}::fe/64",
                       s, f"eth{number}", f"10.7{number}.0.1/24", f"fd7{number}::1/64")  # fmt: skip
            router.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
            for version, far, near, net in (
                ("-4", f"10.7{number}.0.1", f"10.7{number}.0.254", f"10.6{number}.0.0/24"),
                ("-6", f"fd7{number}::1", f"fd7{number}::fe", f"fd6{number}::/64"),
            ):
                ip("-n", router.name, version, "route", "add", "default", "via", far)
                ip("-n", s.name, version, "route", "add", net, "via", near)
        self._wire(c, "lan0", f"{LAN4}/24", f"{LAN6}/64", self.behind, "eth0", f"{BEHIND4}/24", f"{BEHIND6}/64")
        ip("-n", self.behind.name, "route", "add", "default", "via", LAN4)
        ip("-n", self.behind.name, "-6", "route", "add", "default", "via", LAN6)
        for address in (SERVER4, SERVER6, SITE4, SITE6):
            ip("-n", s.name, "addr", "add", address, "dev", "lo", *nodad(address))
        self.use_uplink(1)

    def use_uplink(self, number: int) -> None:
        """Lead C's default routes through a router, as a network manager does."""
        ip_lines(self.client.name, default_routes(number))

    def reset_uplinks(self) -> None:
        """Both uplinks up with their addresses, the first one in use."""
        lines = []
        for number in (1, 2):
            lines.append(f"link set eth{number} up")
            for address in (f"10.6{number}.0.1/24", f"fd6{number}::1/64"):
                lines.append(" ".join(["addr replace", address, f"dev eth{number}", *nodad(address)]))
        ip_lines(self.client.name, lines + default_routes(1))

    def wait_reachable(self) -> None:
        """Return once C reaches S in both families. Raises RuntimeError."""
        for target in (SERVER4, SERVER6):
            self.client.run(["ping", "-q", "-c", "1", "-W", "60", target])

    @contextmanager
    def spied(self, allowed: str = TO_SHADOWSOCKS) -> Iterator[list[str]]:
        """What leaves C by either uplink and should not; filled in when the block ends."""
        seen: list[str] = []
        with ExitStack() as stack:
            spies = [stack.enter_context(Spy(self, allowed, f"eth{number}")) for number in (1, 2)]
            yield seen
        seen += [line for spy in spies for line in spy.packets]

    def _wire(self, one: Namespace, name: str, one4: str, one6: str,
              other: Namespace, far: str, other4: str, other6: str) -> None:  # fmt: skip
        ip("link", "add", name, "netns", one.name, "type", "veth", "peer", "name", far, "netns", other.name)
        for host, device, addresses in ((one, name, (one4, one6)), (other, far, (other4, other6))):
            for address in addresses:
                ip("-n", host.name, "addr", "add", address, "dev", device, *nodad(address))
            ip("-n", host.name, "link", "set", device, "up")


def default_routes(number: int) -> list[str]:
    """What leads through a router, as lines for `ip`."""
    return [f"route replace default via {via} dev eth{number}" for via in (f"10.6{number}.0.254", f"fd6{number}::fe")]


def until(condition: object, timeout: float = 60.0, what: str = "") -> None:
    """Wait for `condition()` to hold, as long as a busy machine may need. Raises AssertionError."""
    assert callable(condition)
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < timeout, f"not within {timeout} s: {what}"
        time.sleep(0.02)
