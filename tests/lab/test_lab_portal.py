"""A network that wants a login: `up` with a kill switch says so, `portal` shows the page, and nothing else leaves.

R2 is the network with the login page: its own nginx answers for every web server and its own resolver for every
resolver, and it forwards nothing. Whoever fetches /login is let out, as soon as somebody reads nginx's log.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from bench.netlab.namespaces import SERVER4, SITE4, SITE6
from bench.netlab.processes import Process
from lab_spy import TO_SHADOWSOCKS
from lab_support import FAR
from lab_system import System
from lab_uplinks import UplinkLab, until
from ocserv_peer import PORT as OPENCONNECT
from ocserv_peer import ocserv
from openvpn_peer import PORT as OPENVPN
from openvpn_peer import Keys as OpenVPNKeys
from openvpn_peer import start_openvpn
from strongswan_peer import strongswan
from test_lab_up_leaks import BOUND, MIX, mix_running
from wireguard_peer import PORT, Keys, wireguard_go

pytestmark = pytest.mark.lab

HOME = "10.62.0.254"
"""R2's address on the network with the login page."""
PROBE = "http://server.lab/success.txt"
OTHERS = {name: argv for name, argv in {**MIX, **BOUND}.items() if name != "the other port of the server"}
"""What programs try meanwhile: none of it goes where a probe does."""

CLOSED = f"""
table ip portal {{
  chain before {{
    type nat hook prerouting priority dstnat;
    iifname "eth0" tcp dport 80 dnat to {HOME}:80
    iifname "eth0" meta l4proto {{ tcp, udp }} th dport 53 dnat to {HOME}:53
  }}
}}
table inet closed {{
  chain forward {{ type filter hook forward priority filter; policy accept; iifname "eth0" reject; }}
}}
"""
NGINX = """
daemon off; pid {directory}/pid; error_log {directory}/error.log; worker_processes 1;
events {{ }}
http {{
  access_log {directory}/access.log;
  server {{
    listen {home}:80;
    location = /login {{ return 200 "welcome"; }}
    location = /terms {{ return 200 "log in: /login"; }}
    location / {{ {answer} }}
  }}
}}
"""
ENDS = f"return 302 http://{HOME}/terms;"
ENDLESS = "return 302 http://portal.example$uri-;"


class LoginNetwork:
    """R2 as such a network, until it lets everybody out."""

    def __init__(self, lab: UplinkLab, answer: str) -> None:
        self.lab = lab
        self.router = lab.routers[1]
        self.directory = Path(tempfile.mkdtemp(prefix="portal-", dir=lab.directory))
        self.directory.chmod(0o755)
        (self.directory / "nginx.conf").write_text(NGINX.format(directory=self.directory, home=HOME, answer=answer))
        self.processes: list[Process] = []

    def __enter__(self) -> LoginNetwork:
        nginx = ["nginx", "-p", str(self.directory), "-e", str(self.directory / "error.log"), "-c", "nginx.conf"]
        names = ["dnsmasq", "--keep-in-foreground", "--log-facility=-", "--pid-file=", "--no-resolv", "--no-hosts"]
        names += ["-C", "/dev/null", "--user=root", "--bind-interfaces", f"--listen-address={HOME}"]
        self.processes = [
            self.lab.start(self.router, nginx),
            self.lab.start(self.router, [*names, f"--address=/#/{HOME}"]),
        ]
        for process, port in zip(self.processes, (80, 53), strict=True):
            process.wait_listening(port)
        rules = self.directory / "closed.nft"
        rules.write_text(CLOSED)
        self.router.run(["nft", "-f", str(rules)])
        return self

    def requests(self) -> list[str]:
        """What nginx was asked for."""
        log = self.directory / "access.log"
        return [line.split('"')[1].split()[1] for line in log.read_text().splitlines()] if log.exists() else []

    def open(self) -> None:
        """Let everybody out."""
        self.router.run(["sh", "-c", "nft delete table ip portal; nft delete table inet closed"], check=False)

    def __exit__(self, *_: object) -> None:
        self.open()
        for process in self.processes:
            process.stop()


@pytest.fixture(scope="module")
def success(uplinks: UplinkLab) -> None:
    """The page that says that nothing is in the way, on S."""
    (uplinks.directory / "site" / "success.txt").write_text("success\n")


@pytest.fixture
def profile(system: System, success: None) -> str:
    """A profile with a kill switch that asks for that page."""
    path = system.directory / "hotel.toml"
    path.write_text(
        f'server = "{system.url}"\n[dns]\nmode = "tcp://{SITE4}:53"\n'
        f'[tunnel]\nkill_switch = true\nportal_probes = ["{PROBE}", "http://far.lab/"]\n'
    )
    system.env.pop("TUNFLOW_SERVER")
    return str(path)


BROWSER = f"""
curl -sS -m 30 -L {{}} && curl -sS -m 30 -o /dev/null http://portal.example/who && curl -sS -m 30 http://{HOME}/login
(curl -s -m 2 -o /dev/null http://{SITE4}:9000/ && echo leaked-port) &
(dig +tries=1 +timeout=2 @192.0.2.53 elsewhere.lab >/dev/null) &
(ping -c1 -W1 {SITE4} >/dev/null && echo leaked-ping) &
(curl -s -m 2 -o /dev/null "http://[{SITE6}]:9000/" && echo leaked-v6) &
wait
"""
"""What stands for a browser: the page, another name, the login, and much that it may not."""


def test_the_login_page_is_reached_and_nothing_else(uplinks: UplinkLab, system: System, profile: str) -> None:
    system.ok("up", profile)
    web = f"(tcp dst port 80 and (dst host {HOME} or dst host {SERVER4} or dst host {FAR}))"
    with (
        LoginNetwork(uplinks, ENDS) as network,
        uplinks.spied(f"({TO_SHADOWSOCKS} or {web})") as seen,
        mix_running(system, OTHERS),
    ):
        uplinks.use_uplink(2)
        until(lambda: system.facts()["status"] == "captive", 30, "captive")
        facts = system.status()
        assert (facts["portal"], facts["kill_switch"]) == ({"url": f"http://{HOME}/terms", "sign": "answer"}, True)
        told = system.tunflow("status")
        assert (told.returncode, told.stdout.splitlines()[0]) == (1, "captive")
        assert "tunflow portal" in told.stdout
        assert system.fetch(f"http://{SITE4}/1k", timeout=1) == 0
        shown = system.tunflow("portal", "--", "sh", "-c", BROWSER)
        assert (shown.returncode, shown.stdout) == (0, "log in: /loginwelcome"), shown
        assert "/login" in network.requests()
        network.open()
        until(lambda: system.facts()["status"] == "connected", 30, "connected")
        assert system.fetch(f"http://{SITE4}/1k") == 1024
        late = system.tunflow("portal", "--", "true")
        assert (late.returncode, late.stderr.count("\n")) == (1, 1), late
        assert "connected" in late.stderr
        assert "portal" not in system.run(["nft", "list", "table", "inet", "tunflow"]).stdout
    asked = ("server.lab", "far.lab", "portal.example", "elsewhere.lab")  # every resolver is the network's
    leaks = [line for line in seen if not ("53: " in line and any(f"? {name}" in line.lower() for name in asked))]
    assert leaks == [], "\n".join(leaks)


@pytest.mark.parametrize("form", ["a link", "a wg-quick file"])
def test_a_tunnel_over_udp_looks_for_the_page_too(uplinks: UplinkLab, system: System, success: None, form: str) -> None:
    """WireGuard, whose server is not heard there: captive, the page and nothing else, and then it connects.

    By a link flows go by a stack of tunflow's (`server_backend`), by a file packets as they are (`provider_backend`).
    """
    keys = Keys()
    profile = system.directory / "wireguard.toml"
    profile.write_text(
        f'server = "{keys.link()}"\n[dns]\nmode = "tcp://{SITE4}:53"\n'
        f'[tunnel]\nportal_probes = ["{PROBE}", "http://far.lab/"]\n'
    )
    profile.chmod(0o600)
    name = str(profile) if form == "a link" else keys.profile(system.directory, more=f"DNS = {SITE4}\n")
    web = f"(tcp dst port 80 and (dst host {HOME} or dst host {SERVER4} or dst host {FAR}))"
    with wireguard_go(uplinks, keys):
        system.ok("up", name, "--kill-switch", TUNFLOW_SERVER="")
        assert system.fetch(f"http://{SITE4}/1k") == 1024, system.log()
        late = system.tunflow("portal", "--", "true")
        assert (late.returncode, "connected" in late.stderr) == (1, True), late
        with (
            LoginNetwork(uplinks, ENDS) as network,
            uplinks.spied(f"((host {SERVER4} and udp port {PORT}) or {web})") as seen,
            mix_running(system, OTHERS, pause=1.0),  # for most of a minute: silence is noticed by its length
        ):
            uplinks.use_uplink(2)
            until(lambda: system.facts()["status"] == "captive", 60, "captive")
            assert system.status()["portal"] == {"url": f"http://{HOME}/terms", "sign": "answer"}
            shown = system.tunflow("portal", "--", "sh", "-c", BROWSER)
            assert (shown.returncode, shown.stdout) == (0, "log in: /loginwelcome"), shown
            network.open()
            until(lambda: system.facts()["status"] == "connected", 30, "connected")
            until(lambda: system.fetch(f"http://{SITE4}/1k", timeout=5) == 1024, 60, "through the tunnel again")
            until(lambda: not system.facts()["troubles"], 30, "without a trouble")
            assert "portal" not in system.run(["nft", "list", "table", "inet", "tunflow"]).stdout
    names = ("server.lab", "far.lab", "gstatic.com", "firefox.com", "portal.example", "elsewhere.lab")
    leaks = [line for line in seen if not ("53: " in line and any(f"{name}. " in line.lower() for name in names))]
    assert leaks == [], "\n".join(leaks)


@pytest.mark.parametrize("program", ["openconnect", "charon"])
def test_a_vpn_that_has_yet_to_sign_in_shows_the_page_at_once(uplinks: UplinkLab, system: System, program: str) -> None:
    """charon asks for half a minute before it knows that nobody answers; nobody waits for that to log in."""
    ports = f"tcp port {OPENCONNECT}" if program == "openconnect" else "(udp port 500 or udp port 4500)"
    web = f"(tcp dst port 80 and (dst host {HOME} or dst host {SERVER4} or dst host {FAR}))"
    profile = system.directory / "office.toml"
    with (ocserv if program == "openconnect" else strongswan)(uplinks) as server:
        profile.write_text(f"server = '{server.link()}'\n")
        profile.chmod(0o600)
        uplinks.use_uplink(2)
        with (
            LoginNetwork(uplinks, ENDS) as network,
            uplinks.spied(f"((host {SERVER4} and {ports}) or {web})") as seen,
        ):
            system.ok("up", str(profile), "--kill-switch", TUNFLOW_SERVER="")
            shown = system.tunflow("portal", "--", "sh", "-c", BROWSER)
            assert (shown.returncode, shown.stdout) == (0, "log in: /loginwelcome"), (shown, system.log())
            until(lambda: system.facts()["status"] == "captive", 60, "captive")
            assert system.status()["portal"] == {"url": f"http://{HOME}/terms", "sign": "answer"}
            assert system.fetch(f"http://{SITE4}/1k", timeout=1) == 0
            network.open()
            until(lambda: system.facts()["status"] == "connected", 60, "connected")
            until(lambda: system.fetch(f"http://{SITE4}/1k", timeout=2) == 1024, 60, "through the tunnel")
            assert "portal" not in system.run(["nft", "list", "table", "inet", "tunflow"]).stdout
    names = ("gstatic.com", "firefox.com", "portal.example", "elsewhere.lab")
    leaks = [line for line in seen if not ("53: " in line and any(f"{name}. " in line.lower() for name in names))]
    assert leaks == [], "\n".join(leaks)


def test_up_begins_where_a_page_leads_to_no_end(uplinks: UplinkLab, system: System, profile: str) -> None:
    """`up` holds everything back and says why; there is nothing to show, in one line; and then it connects."""
    uplinks.use_uplink(2)
    with LoginNetwork(uplinks, ENDLESS) as network:
        system.ok("up", profile)
        facts = system.status()
        assert (facts["status"], facts["kill_switch"]) == ("captive", True)
        assert "to no end" in facts["troubles"][0]["what"]
        assert system.fetch(f"http://{HOME}/login", timeout=1) == 0
        shown = system.tunflow("portal", "--", "true")
        assert (shown.returncode, shown.stderr.count("\n")) == (1, 1), shown
        assert "to no end" in shown.stderr
        network.open()
        until(lambda: system.facts()["status"] == "connected", 40, "connected")
        assert system.fetch(f"http://{SITE4}/1k") == 1024


def test_a_vpn_that_begins_where_a_login_is_wanted_waits_for_it(uplinks: UplinkLab, system: System) -> None:
    """OpenVPN, which has nothing to set up before its server said what: held, captive, and then it starts anew."""
    before = system.snapshot()
    keys = OpenVPNKeys(uplinks.directory / "portal-openvpn")
    profile = keys.client("hotel", proto="tcp")
    web = f"(tcp dst port 80 and (dst host {HOME} or dst host {SERVER4} or dst host {FAR}))"
    server = f"(host {SERVER4} and tcp port {OPENVPN})"
    with start_openvpn(uplinks, keys, "--push", f"dhcp-option DNS {SITE4}", proto="tcp"):
        uplinks.use_uplink(2)
        with LoginNetwork(uplinks, ENDS) as network, uplinks.spied(f"({server} or {web})") as seen:
            system.ok("up", profile, "--kill-switch", TUNFLOW_SERVER="")
            facts = system.status()
            assert (facts["status"], facts["kill_switch"]) == ("captive", True)
            assert facts["portal"] == {"url": f"http://{HOME}/terms", "sign": "answer"}
            assert system.fetch(f"http://{SITE4}/1k", timeout=1) == 0
            shown = system.tunflow("portal", "--", "sh", "-c", BROWSER)
            assert (shown.returncode, shown.stdout) == (0, "log in: /loginwelcome"), shown
            network.open()
            until(lambda: system.facts()["status"] == "connected", 60, "connected")
            until(lambda: system.fetch(f"http://{SITE4}/1k", timeout=2) == 1024, 30, "through the tunnel")
            assert "portal" not in system.run(["nft", "list", "table", "inet", "tunflow"]).stdout
    assert "the login page is out of the way: traffic is held, and it is started again" in system.log()
    names = ("gstatic.com", "firefox.com", "portal.example", "elsewhere.lab")
    leaks = [line for line in seen if not ("53: " in line and any(f"{name}. " in line.lower() for name in names))]
    assert leaks == [], "\n".join(leaks)
    system.ok("down")
    uplinks.use_uplink(1)
    assert system.snapshot() == before
