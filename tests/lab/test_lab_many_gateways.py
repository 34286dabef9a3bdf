"""Many gateways, as docs/many-gateways.md has them: one signed profile from one address, one Prometheus that watches.

G1, G2, G3 --- S: the profile's address (nginx, HTTPS), the servers, Debian's prometheus
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from bench.netlab.namespaces import SERVER4, SERVER6, SITE4, Lab, Namespace, ip, nodad
from bench.netlab.peers import start_nginx, start_shadowsocks_server
from bench.netlab.processes import Process
from bench.netlab.tunnel import shadowsocks_url
from lab_system import System
from lab_uplinks import until

pytestmark = pytest.mark.lab

ADDRESS = f"https://{SERVER4}/school.toml"
SECRET = "of-the-school"
SECOND = 8389
DASHBOARD = Path(__file__).parents[2] / "packaging" / "grafana" / "tunflow.json"
PROFILE = """
rules = ["MATCH,auto"]
[servers]
{servers}
[groups]
auto = {{ type = "url-test", servers = [{names}], url = "http://{site}/1k", interval = 5 }}
[api]
listen = "0.0.0.0:9090"
secret = "{secret}"
"""
SCRAPE = """
global: {{ scrape_interval: 500ms, scrape_timeout: 500ms }}
scrape_configs:
  - job_name: tunflow
    authorization: {{ credentials_file: {folder}/secret }}
    static_configs: [{{ targets: {targets} }}]
"""


def profile(**servers: str) -> str:
    lines = "\n".join(f'{name}.url = "{link}"' for name, link in servers.items())
    return PROFILE.format(servers=lines, names=", ".join(map(repr, servers)), site=SITE4, secret=SECRET)


class GatewayLab(Lab):
    """Three gateways, each with a wire of its own to S."""

    def __init__(self) -> None:
        super().__init__()
        self.gateways = [Namespace(f"{self.id}-g{number}", self.client.env) for number in (1, 2, 3)]
        self.hosts += self.gateways

    def join(self) -> None:
        """Connect them."""
        for host in self.hosts:
            ip("-n", host.name, "link", "set", "lo", "up")
        for address in (SERVER4, SERVER6, SITE4):
            ip("-n", self.server.name, "addr", "add", address, "dev", "lo", *nodad(address))
        for number, gateway in enumerate(self.gateways, 1):
            wire = f"eth{number}"
            ip("link", "add", "eth0", "netns", gateway.name, "type", "veth", "peer", wire, "netns", self.server.name)
            for host, device, last in ((gateway, "eth0", 1), (self.server, wire, 254)):
                ip("-n", host.name, "addr", "add", f"10.61.{number}.{last}/24", "dev", device)
                ip("-n", host.name, "link", "set", device, "up")
            ip("-n", gateway.name, "route", "add", "default", "via", f"10.61.{number}.254")


class School:
    """The address that hands out the profile, and the key that signs it."""

    def __init__(self, lab: Lab) -> None:
        self.folder = lab.directory / "site"
        self.folder.mkdir()
        (self.folder / "1k").write_bytes(bytes(1024))
        self.log = lab.directory / "nginx" / "access.log"
        self._minisign("-G", "-W", "-p", str(lab.directory / "key.pub"), "-s", str(lab.directory / "key.sec"))
        self.key = (lab.directory / "key.pub").read_text().splitlines()[1]
        self._secret_key = str(lab.directory / "key.sec")
        start_nginx(lab, self.folder, tls=True)
        self.certificate = str(lab.directory / "nginx" / "tls.crt")

    def hand_out(self, content: str, *, signed: bool = True) -> None:
        """What the address holds from now on."""
        (self.folder / "school.toml").write_text(content)
        if signed:
            self._minisign("-S", "-s", self._secret_key, "-m", str(self.folder / "school.toml"))

    def _minisign(self, *arguments: str) -> None:
        subprocess.run(["minisign", *arguments], check=True, capture_output=True)


class Prometheus:
    """Debian's, on S, and what it answers."""

    def __init__(self, lab: Lab, targets: Sequence[str]) -> None:
        self._host = lab.server
        folder = lab.directory / "prometheus"
        folder.mkdir()
        (folder / "secret").write_text(SECRET)
        (folder / "prometheus.yml").write_text(SCRAPE.format(folder=folder, targets=json.dumps(list(targets))))
        self._process: Process = lab.start(
            lab.server,
            ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             "--web.listen-address=127.0.0.1:9091"],
        )  # fmt: skip
        self._process.wait_listening(9091, timeout=60)

    def asked(self, path: str) -> Any:
        """What its API has at `path`."""
        with self._host.entered(), urlopen(f"http://127.0.0.1:9091/api/v1/{path}", timeout=30) as answer:
            return json.load(answer)["data"]

    def values(self, query: str) -> list[tuple[str, float]]:
        """The gateway and the value of each series that a query finds."""
        found = self.asked(f"query?query={quote(query)}")["result"]
        return [(each["metric"]["instance"], float(each["value"][1])) for each in found]


@pytest.fixture(scope="module")
def lab(_available: None) -> Iterator[GatewayLab]:
    with GatewayLab() as running:
        start_shadowsocks_server(running)
        start_shadowsocks_server(running, port=SECOND)
        yield running


def test_three_gateways_from_one_address(lab: GatewayLab) -> None:
    school = School(lab)
    school.hand_out(profile(first=shadowsocks_url()))
    targets = [f"10.61.{number}.1:9090" for number in (1, 2, 3)]
    prometheus = Prometheus(lab, targets)
    with ExitStack() as stack:
        gateways = [stack.enter_context(System(lab, gateway)) for gateway in lab.gateways]
        for gateway in gateways:
            gateway.env["SSL_CERT_FILE"] = school.certificate
            gateway.env["XDG_CONFIG_HOME"] = str(gateway.directory / "config")

        def begin(gateway: System) -> int:
            gateway.ok("profile", "import", ADDRESS, "--key", school.key, "--name", "school")
            gateway.ok("up", "school")
            return gateway.fetch(f"http://{SITE4}/1k", timeout=30)

        with ThreadPoolExecutor() as threads:
            assert list(threads.map(begin, gateways)) == [1024] * 3
        first, second, third = gateways

        # The new profile, on one of them a day before the others.
        school.hand_out(profile(first=shadowsocks_url(), second=shadowsocks_url(port=SECOND)))
        assert "new: second" in first.ok("profile", "update", "school")
        first.ok("reload")
        until(lambda: prometheus.values('tunflow_server_works{server="second"}') == [(targets[0], 1)], 30)

        # Nothing new costs one answer without content.
        assert "as it was" in first.ok("profile", "update", "school")
        assert '"GET /school.toml HTTP/1.1" 304 0' in school.log.read_text()

        # What nobody signed is not taken; the last good one stays and carries.
        school.hand_out(profile(evil=shadowsocks_url(port=SECOND), more=shadowsocks_url()), signed=False)
        refused = second.tunflow("profile", "update", "school")
        assert (refused.returncode, "not of this content" in refused.stdout) == (1, True), refused
        assert "evil" not in (second.directory / "config" / "tunflow" / "profiles" / "school.toml").read_text()
        assert second.fetch(f"http://{SITE4}/1k", timeout=30) == 1024

        # The dashboard: each of its queries has something to say of each gateway, and of one that is gone.
        board = json.loads(DASHBOARD.read_text())
        (variable,) = (each["query"] for each in board["templating"]["list"] if each["type"] == "query")
        series = variable.removeprefix("label_values(").removesuffix(", instance)")
        assert prometheus.asked(f"label/instance/values?match[]={quote(series)}") == targets
        queries = {
            target["expr"].replace("$instance", ".*").replace("$__rate_interval", "30s"): panel["title"]
            for panel in board["panels"]
            for target in panel["targets"]
        }
        for query in queries:
            until(lambda query=query: {each for each, _ in prometheus.values(query)} == set(targets), 60, query)
        third.ok("down")
        (is_up,) = (query for query, title in queries.items() if title == "Up")
        until(lambda: sorted(prometheus.values(is_up)) == [*zip(targets, (1, 1, 0), strict=True)], 60)
