"""The lab as fixtures: one network of two hosts for the whole session, with every peer running.

Needs root and the programs that `./test` installs. In CI a lab that cannot run is a failure; elsewhere its tests are
skipped when the user is not root, and only then.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from bench.netlab.namespaces import SERVER4, SERVER6, SITE4, SITE6, Lab
from bench.netlab.peers import (
    start_dns,
    start_iperf3,
    start_nginx,
    start_services,
    start_shadowsocks_server,
    start_sshd,
    start_udp_echo,
    wait_reachable,
)
from bench.netlab.processes import Process
from bench.netlab.proxy_peers import DANTE_PORT, HAS_DANTE
from bench.netlab.site import Site
from lab_spy import Spy
from lab_state import lab_processes, lab_settings, left_running, settled_changes
from lab_support import BIG_BYTES, FAR, Contents, Tunnel
from lab_system import System
from lab_uplinks import UplinkLab

PROGRAMS = (
    "busybox", "chromium", "curl", "dig", "dnsmasq", "dnsperf", "dnssec-signzone", "git", "ip", "iperf3", "microsocks",
    "named", "nginx", "nsenter", "openssl", "openvpn", "ping", "prlimit", "prometheus", "scp", "setpriv", "sftp",
    "socat", "ss-server", "ssh", "/usr/sbin/sshd", "sysctl", "tcpdump", "tinyproxy", "tor", "tor-gencert", "tshark",
    "unbound", "wg", "wget", "wireguard-go", *(["danted"] if HAS_DANTE else []),
)  # fmt: skip
NAMES = {
    "site.lab": (SITE4, SITE6),
    "four.lab": (SITE4,),
    "six.lab": (SITE6,),
    "server.lab": (SERVER4,),
    "far.lab": (FAR,),
}
SHARED = {"lab", "contents", "outside_resolver", "far_resolver", "tunnel", "uplinks"}
"""What is made once for all files, by the first that needs it."""
LABS = pytest.StashKey[dict[str, Lab]]()
"""Those of `SHARED` that are labs, by name. A file may have its own of the same name."""
BIG_TEXT = [f"{number:02}" * 100 for number in range(20)]
"""20 strings of 200 characters: a TXT answer that no datagram without EDNS can hold."""


def unavailable() -> str | None:
    """Why the lab cannot run here, if it cannot."""
    if os.geteuid() != 0:
        return "the lab needs root (network namespaces): NOT RUN"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"the lab needs {', '.join(missing)}; ./test installs them" if missing else None


@pytest.fixture(scope="session")
def _available() -> None:
    """Whoever wants to run in the lab, can."""
    reason = unavailable()
    if reason is not None:
        if os.geteuid() == 0 or os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="module", autouse=True)
def _lab_as_found(request: pytest.FixtureRequest) -> Iterator[None]:
    """End what a file has started in a lab of all files, and fail with the file that leaves one changed, not with one
    of those that use it later."""
    used = {name for item in request.session.items if item.path == request.path for name in vars(item)["fixturenames"]}
    for name in sorted(used & SHARED):
        request.getfixturevalue(name)
    labs = [lab for name, lab in request.config.stash.get(LABS, {}).items() if name in used]
    before = [(lab, lab_settings(lab), lab_processes(lab)) for lab in labs]
    with ExitStack() as stack:
        for lab in labs:
            stack.enter_context(lab.lent())
        yield
    left = []
    for lab, settings, processes in before:
        left += [f"still runs: {line}" for line in left_running(lab, processes)]
        left += settled_changes(lab, settings)
    assert not left, "\n".join(left)


@pytest.fixture(autouse=True)
def _skip_without_dante(request: pytest.FixtureRequest) -> None:
    """Leave out what goes through dante where the distribution has none."""
    case = vars(request.node).get("callspec")
    if not HAS_DANTE and case is not None and f":{DANTE_PORT}" in repr(case.params):
        pytest.skip("dante-server is not in this Debian: NOT RUN")


@pytest.fixture(scope="session")
def lab(_available: None, pytestconfig: pytest.Config) -> Iterator[Lab]:
    with Lab() as running:
        pytestconfig.stash.setdefault(LABS, {})["lab"] = running
        yield running


@pytest.fixture(scope="session")
def contents(lab: Lab, shared_directory: Path) -> Contents:
    site = Site(lab.directory / "site", shared_directory)
    site.add_file("1k", 1024)
    million = site.add_file("1m", 1_000_000)
    medium = site.add_file("10m", 10_000_000, seed=3)
    made = Contents(
        big_sha256=site.add_file("big", BIG_BYTES, seed=4),
        medium_sha256=medium,
        million_sha256=million,
        commit=site.add_repository("repository"),
        wheel=site.add_wheel("labpackage", "1.0"),
    )
    start_nginx(lab, site.root)
    return made


@pytest.fixture(scope="session")
def outside_resolver(lab: Lab) -> Process:
    """The resolver that C's resolv.conf names, in plain sight of the spy."""
    return start_dns(lab, (SERVER4, SERVER6), NAMES, {"big.lab": BIG_TEXT})


@pytest.fixture(scope="session")
def far_resolver(lab: Lab) -> Process:
    """The resolver that tests tell tunflow to use; its log says who asked, and how."""
    return start_dns(lab, (SITE4, SITE6), NAMES, {"big.lab": BIG_TEXT})


@pytest.fixture(scope="session")
def tunnel(lab: Lab, contents: Contents, outside_resolver: Process, far_resolver: Process) -> Tunnel:
    """`tunflow run` with everything on S that it may be asked to reach."""
    start_shadowsocks_server(lab)
    start_iperf3(lab)
    start_sshd(lab)
    start_services(lab)
    start_udp_echo(lab, SITE4)
    start_udp_echo(lab, SITE6)
    wait_reachable(lab)
    return Tunnel(lab)


@pytest.fixture
def spy(lab: Lab) -> Callable[..., Spy]:
    """Makes spies on C's link."""
    return lambda **options: Spy(lab, **options)


@pytest.fixture(scope="session")
def uplinks(_available: None, shared_directory: Path, pytestconfig: pytest.Config) -> Iterator[UplinkLab]:
    """A lab of two uplinks, with everything on S that is visited in it."""
    with UplinkLab() as running:
        pytestconfig.stash.setdefault(LABS, {})["uplinks"] = running
        site = Site(running.directory / "site", shared_directory)
        site.add_file("1k", 1024)
        site.add_file("big", BIG_BYTES, seed=4)
        start_nginx(running, site.root)
        start_shadowsocks_server(running)
        start_services(running)
        start_udp_echo(running, SITE4)
        start_udp_echo(running, SITE6)
        start_dns(running, (SERVER4, SERVER6), NAMES, {})
        start_dns(running, (SITE4, SITE6), NAMES, {})
        running.wait_reachable()
        yield running


@pytest.fixture
def system(uplinks: UplinkLab) -> Iterator[System]:
    """`tunflow up` on the host with two uplinks, which are as at first when the test begins."""
    uplinks.reset_uplinks()
    with System(uplinks) as running:
        yield running
    uplinks.reset_uplinks()
