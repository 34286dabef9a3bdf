"""The content filter on real traffic: one program's, and that of a LAN behind a gateway."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.netlab.namespaces import SITE4, Namespace
from bench.netlab.tunnel import shadowsocks_url
from lab_system import DNS, System, is_alive
from lab_uplinks import UplinkLab, until

pytestmark = pytest.mark.lab

BLOCKED = "site.lab"
ALLOWED = "four.lab"
LISTS = f"||{BLOCKED}^\n{ALLOWED}/big\nthis line is broken\n"


@pytest.fixture(scope="module")
def https(uplinks: UplinkLab) -> Iterator[None]:
    """A TLS server on S, whoever is asked for."""
    key, certificate = uplinks.directory / "tls.key", uplinks.directory / "tls.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
         "-out", certificate, "-days", "2", "-subj", "/CN=lab"],
        check=True, capture_output=True,
    )  # fmt: skip
    server = [
        "openssl",
        "s_server",
        "-accept",
        f"{SITE4}:443",
        "-key",
        str(key),
        "-cert",
        str(certificate),
        "-www",
        "-quiet",
    ]
    with uplinks.start(uplinks.server, server) as process:
        process.wait_listening(443)
        yield


def profile_of(system: System, more: str = "", dns: str = f"fake,{DNS}") -> Path:
    folder = Path(system.directory)
    (folder / "list.txt").write_text(LISTS)
    path = folder / "school.toml"
    path.write_text(
        f"""
        server = "{shadowsocks_url()}"
        [dns]
        mode = "{dns}"
        [filter]
        log = "{folder}/filter.jsonl"
        {more}
        [[filter.lists]]
        name = "school"
        file = "list.txt"
        category = "not for school"
        """
    )
    path.chmod(0o600)
    folder.chmod(0o777)
    return path


def curl(host: Namespace, url: str, *options: str) -> tuple[str, int, float]:
    """What curl got, its exit status, and how long it took."""
    start = time.monotonic()
    done = host.run(["curl", "-sS", "-m", "60", *options, url], timeout=90, check=False)
    return done.stdout, done.returncode, time.monotonic() - start


@pytest.mark.parametrize("behind", [False, True], ids=["host", "gateway"])
def test_pages_names_and_hellos(uplinks: UplinkLab, system: System, https: None, behind: bool) -> None:
    """Blocked HTTP gets the page, blocked TLS ends at once, URLs are told apart, and all else passes."""
    path = profile_of(system, 'dns_answer = "address"')
    system.ok("up", str(path), *(("--gateway", "lan0") if behind else ()))
    host = uplinks.behind if behind else uplinks.client
    there = ("--resolve", f"{BLOCKED}:80:{SITE4}", "--resolve", f"{BLOCKED}:443:{SITE4}",
             "--resolve", f"{ALLOWED}:80:{SITE4}", "--resolve", f"{ALLOWED}:443:{SITE4}")  # fmt: skip
    page, status, _ = curl(host, f"http://{BLOCKED}/1k", "-i", *there)
    assert "403 Forbidden" in page, (page, status, system.log())
    assert "school:1" in page
    assert "not for school" in page
    assert curl(host, f"http://{ALLOWED}/1k", "-o", "/dev/null", "-w", "%{size_download}", *there)[0] == "1024"
    assert "403 Forbidden" in curl(host, f"http://{ALLOWED}/big", "-i", *there)[0]
    # Two requests on one connection: the second is refused, the first is not.
    each = ("-sS", "-m", "30", "-o", "/dev/null", "-w", "%{http_code} ", *there, f"http://{ALLOWED}/1k")
    both = host.run(["curl", *each, "--next", "-H", f"Host: {BLOCKED}", *each], check=False).stdout
    assert both.split() == ["200", "403"]
    _, refused, seconds = curl(host, f"https://{BLOCKED}/", "-k", *there)
    assert refused == 35  # CURLE_SSL_CONNECT_ERROR: a reset during the handshake
    assert seconds < 30  # curl gives up after 60
    answer, fine, _ = curl(host, f"https://{ALLOWED}/", "-k", *there)
    assert fine == 0, (answer, system.log())
    events = [json.loads(line) for line in (Path(system.directory) / "filter.jsonl").read_text().splitlines()]
    assert {event["host"] for event in events if event["event"] == "blocked"} >= {BLOCKED, ALLOWED}
    assert not any("url" in event for event in events)  # privacy "domains"
    assert "list.txt:3" in system.log()


def test_names_that_are_said_not_to_exist(uplinks: UplinkLab, system: System) -> None:
    system.ok("up", str(profile_of(system)))
    assert "NXDOMAIN" in system.run(["dig", BLOCKED]).stdout
    assert "NXDOMAIN" in system.run(["dig", "+tcp", f"www.{BLOCKED}", "AAAA"]).stdout
    assert "NOERROR" in system.run(["dig", ALLOWED]).stdout


def test_names_that_a_list_answers(uplinks: UplinkLab, system: System) -> None:
    """An address, a code, no record of a type, another name's addresses; a flow to that address is one to the name."""
    path = profile_of(
        system,
        'forged = "refuse"\n[filter.devices.this]\nclients = ["0.0.0.0/0"]\ntags = ["device_pc"]',
        f"cache,{DNS}",
    )
    (path.parent / "list.txt").write_text(
        f"||here.example^$dnsrewrite={SITE4},ctag=device_pc\n||no.example^$dnsrewrite=REFUSED\n"
        f"||{ALLOWED}^$dnstype=AAAA\n||other.example^$dnsrewrite={ALLOWED}\n{SITE4} hosts.example\n"
    )
    system.ok("up", str(path))
    for name, kind, wanted in (
        ("here.example", "A", SITE4), ("here.example", "AAAA", "NOERROR"), ("no.example", "A", "REFUSED"),
        (ALLOWED, "AAAA", "ANSWER: 0"), ("other.example", "A", SITE4), ("hosts.example", "A", SITE4),
    ):  # fmt: skip
        assert wanted in system.run(["dig", name, kind]).stdout, (name, kind, system.log())
    size = ("-o", "/dev/null", "-w", "%{size_download}")
    assert curl(uplinks.client, "http://here.example/1k", *size)[0] == "1024", system.log()
    assert "answer   " in system.ok("filter", "test", "here.example", "--client", "10.0.0.1", "--profile", str(path))


def test_only_what_a_list_allows(uplinks: UplinkLab, system: System) -> None:
    """A site that is refused has the address of one that is allowed, and takes nothing away from it."""
    path = profile_of(system, "only_allowed = true", f"cache,{DNS}")
    (Path(system.directory) / "list.txt").write_text(f"{ALLOWED}\n")
    path.write_text(path.read_text().replace('category = "not for school"', 'action = "allow"'))
    system.ok("up", str(path))
    host, sizes = uplinks.client, ("-o", "/dev/null", "-w", "%{size_download}")
    assert curl(host, f"http://{ALLOWED}/1k", *sizes)[0] == "1024", system.log()
    assert "NXDOMAIN" in system.run(["dig", BLOCKED]).stdout
    assert curl(host, f"http://{ALLOWED}/1k", "--resolve", f"{ALLOWED}:80:{SITE4}", *sizes)[0] == "1024", system.log()
    page, _, _ = curl(host, f"http://{BLOCKED}/1k", "--resolve", f"{BLOCKED}:80:{SITE4}")
    assert "no list allows it" in page, (page, system.log())


def test_lists_and_a_log_that_only_root_may_touch(uplinks: UplinkLab, system: System) -> None:
    """Lists beside a saved profile, the default log, another program's list; and the tunnel's process is not root."""
    path = profile_of(system, 'page = "page.html"\nprivacy = "full"')
    folder, log = Path(system.directory) / "profiles", Path(system.directory) / "data" / "filter.jsonl"
    folder.mkdir(mode=0o700)
    (folder / "list.txt").write_text(f"||{BLOCKED}^\n")
    (folder / "page.html").write_text("our own page: $why")
    (folder / "chromium.txt").write_text(f"{ALLOWED}\n")
    text = path.read_text().replace(f'log = "{system.directory}/filter.jsonl"', 'dns_answer = "address"')
    text += '[[filter.lists]]\nname = "programs"\nfile = "chromium.txt"\napps = ["/usr/bin/chromium"]\n'
    path = folder / "school.toml"
    path.write_text(text)
    path.chmod(0o600)
    Path(system.directory).chmod(0o711)
    system.ok("up", str(path))
    host = uplinks.client
    assert curl(host, f"http://{BLOCKED}/1k")[0] == "our own page: blocked by school:1"
    got = curl(host, f"http://{ALLOWED}/1k", "-o", "/dev/null", "-w", "%{size_download}")[0]
    assert got == "1024", "a list for another program"
    (folder / "list.txt").write_text(f"||{BLOCKED}^\n||{ALLOWED}^\n")
    system.ok("reload")
    assert curl(host, f"http://{ALLOWED}/1k")[0] == "our own page: blocked by school:2"
    events = [json.loads(line) for line in system.ok("filter", "log", "--json").splitlines()]
    assert {event["program"] for event in events if event["event"] == "passed"} == {"/usr/bin/curl"}
    assert (log.stat().st_uid, log.stat().st_mode & 0o777) == (0, 0o600)
    path.write_text(text.replace("[filter]", f'[filter]\nlog = "{folder}/other.jsonl"'))
    refused = system.tunflow("reload")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert "use tunflow up --replace" in refused.stderr
    assert curl(host, f"http://{ALLOWED}/1k")[0] == "our own page: blocked by school:2"


IDLE = f"""
import socket
sock = socket.create_connection(("{ALLOWED}", 80))
sock.sendall(b"GET /1k HTTP/1.1\\r\\nHost: {ALLOWED}\\r\\n\\r\\n")
got = b""
while len(got) < 1024:
    got += sock.recv(65536)
print("open", flush=True)
sock.settimeout(20)
try:
    print("end" if not sock.recv(1) else "more", flush=True)
except ConnectionResetError:
    print("reset", flush=True)
"""


def test_a_reload_judges_open_flows_again(uplinks: UplinkLab, system: System) -> None:
    """A connection that was allowed ends when its host is listed; what is not listed any more passes."""
    path = profile_of(system)
    (Path(system.directory) / "list.txt").write_text("nothing.example\n")
    system.ok("up", str(path))
    with uplinks.start(uplinks.client, [sys.executable, "-c", IDLE]) as held:
        until(lambda: "open" in held.output())
        (Path(system.directory) / "list.txt").write_text(f"{ALLOWED}\n")
        system.ok("reload")
        until(lambda: "reset" in held.output())
    (Path(system.directory) / "list.txt").write_text("nothing.example\n")
    system.ok("reload")
    assert system.fetch(f"http://{ALLOWED}/1k") == 1024


def test_a_filter_of_ones_own_that_raises_follows_on_failure(uplinks: UplinkLab, system: System) -> None:
    module = Path(system.directory) / "mine.py"
    module.write_text(
        "from tunflow.providers.filter_provider import FilterDataProvider\n\n\n"
        "class Mine(FilterDataProvider):\n    def handle_new_flow(self, flow):\n        raise ValueError('oops')\n"
    )
    path = profile_of(system, f'provider = "{module}:Mine"', dns=DNS)
    system.ok("up", str(path))
    assert system.fetch(f"http://{SITE4}/1k", timeout=5) == 0
    assert "ValueError: oops" in system.log()
    assert "mine.py:6" in system.log()
    system.ok("down")
    path.write_text(path.read_text().replace("[filter]", '[filter]\n        on_failure = "open"'))
    system.ok("up", str(path))
    assert system.fetch(f"http://{SITE4}/1k") == 1024


OWN = """
import asyncio
import pathlib
import time

from tunflow.providers import ControlVerdict, FilterControlProvider, FilterDataProvider, NewFlowVerdict

HERE = pathlib.Path(__file__).parent


class Mine(FilterDataProvider):
    async def start_filter(self):
        await asyncio.sleep(0)
        self.word = self.filter_configuration.vendor_configuration["word"]
        self.display_message(f"started with {self.word}")

    async def stop_filter(self, reason):
        (HERE / "stopped").write_text(reason.name)

    def handle_new_flow(self, flow):
        if flow.remote_endpoint.port == 81:
            while True:
                time.sleep(0.01)
        if flow.remote_endpoint.port == 82:
            return NewFlowVerdict.need_rules()
        if flow.remote_endpoint.port == 8080:
            return NewFlowVerdict.remediate("ask", "text")
        self.create_task(self.later(flow))
        return NewFlowVerdict.pause()

    async def later(self, flow):
        await asyncio.sleep(0.05)
        self.resume_flow(flow, NewFlowVerdict.allow())


class Rules(FilterControlProvider):
    remediation_map = {"urls": {"ask": "http://ask.lab/?NE_FLOW_HOSTNAME"}, "button_texts": {"text": "May I?"}}

    async def handle_new_flow(self, flow):
        (HERE / "asked").write_text(str(flow.remote_endpoint.port))
        return ControlVerdict.drop()
"""


FLOWS = """
from tunflow.providers import AppProxyProvider


class Carries(AppProxyProvider):
    async def start_proxy(self, options):
        self.out = await self.dialer("direct://")

    async def handle_new_flow(self, flow):
        await flow.carry(self.out)
        return True
"""


def test_a_providers_tunnel_is_filtered_under_run(uplinks: UplinkLab, system: System) -> None:
    path = profile_of(system, 'dns_answer = "address"', dns=DNS)
    (path.parent / "flows.py").write_text(FLOWS)
    path.write_text(path.read_text().replace(f'server = "{shadowsocks_url()}"', 'provider = "flows.py:Carries"'))
    script = f"curl -sS -i -H 'Host: {BLOCKED}' http://{SITE4}/1k; curl -sS http://{SITE4}/1k | wc -c"
    done = system.tunflow("run", "--profile", str(path), "--", "sh", "-c", script)
    assert "This page is blocked" in done.stdout, done
    assert done.stdout.endswith("1024\n"), done


def own_profile(system: System, more: str = "") -> Path:
    module = Path(system.directory) / "own.py"
    module.write_text(OWN)
    more = f'provider = "{module}:Mine"\ncontrol_provider = "{module}:Rules"\nconfiguration = {{word = "x"}}\n{more}'
    return profile_of(system, more, dns=DNS)


def test_a_filter_of_ones_own_with_run(uplinks: UplinkLab, system: System) -> None:
    """It is started and stopped, may take its time, asks its control provider, and a call that hangs ends alone."""
    path = own_profile(system)
    size = f"curl -sS -o /dev/null -w '%{{size_download}} ' http://{SITE4}/1k"
    script = f"{size}; curl -sS -m 5 http://{SITE4}:82/; echo $?; curl -sS http://{SITE4}:8080/"
    script = f"{script}; curl -sS -m 30 http://{SITE4}:81/; echo $?; {size}"
    done = system.tunflow("run", "--profile", str(path), "--", "sh", "-c", script)
    assert done.stdout.startswith("1024 7\n"), done
    assert 'href="http://ask.lab/?' in done.stdout
    assert "May I?" in done.stdout
    assert "started with x" in done.stderr
    assert (Path(system.directory) / "asked").read_text() == "82"
    assert (Path(system.directory) / "stopped").read_text() == "USER_INITIATED"
    assert done.stdout.endswith("7\n1024 "), done
    assert "own.py:23" in done.stderr
    assert "ProviderHung" in done.stderr


def test_a_filter_of_ones_own_with_up(uplinks: UplinkLab, system: System) -> None:
    path = own_profile(system)
    system.ok("up", str(path))
    assert system.fetch(f"http://{SITE4}/1k") == 1024
    system.ok("reload")  # it has not changed, so it runs on
    assert system.fetch(f"http://{SITE4}/1k") == 1024
    system.ok("down")
    assert (Path(system.directory) / "stopped").read_text() == "USER_INITIATED"
    (Path(system.directory) / "own.py").write_text(OWN.replace('["word"]', '["wrong"]'))
    system.ok("up", str(path))
    assert system.fetch(f"http://{SITE4}/1k", timeout=5) == 0
    assert "start_filter failed: KeyError: 'wrong'" in system.log()


HANGS = """
import asyncio
import time

from tunflow.providers import FilterDataProvider, NewFlowVerdict


class Mine(FilterDataProvider):
    def handle_new_flow(self, flow):
        self.create_task(asyncio.to_thread(time.sleep, 3600))
        return NewFlowVerdict.pause()

    async def stop_filter(self, reason):
        time.sleep(3600)
"""


@pytest.mark.parametrize("way", ["run", "run a provider", "up", "up a provider"])
def test_a_filter_that_hangs_does_not_hang_the_end(uplinks: UplinkLab, system: System, way: str) -> None:
    """Neither a thread of its own, nor a call of `stop_filter` that blocks."""
    module = Path(system.directory) / "mine.py"
    module.write_text(HANGS)
    path = profile_of(system, f'provider = "{module}:Mine"', dns=DNS)
    if way.endswith("provider"):
        (path.parent / "flows.py").write_text(FLOWS)
        path.write_text(path.read_text().replace(f'server = "{shadowsocks_url()}"', 'provider = "flows.py:Carries"'))
    curl = ("curl", "-sS", "-m", "1", f"http://{SITE4}/1k")
    if way.startswith("run"):
        said = system.tunflow("run", "--profile", str(path), "--", *curl).stderr
    else:
        system.ok("up", str(path))
        pid = system.status()["pid"]
        system.run(curl)
        system.ok("down")
        until(lambda: not is_alive(pid), 20, "the end of the process")
        said = system.log()
    assert "stop_filter failed: ProviderHung" in said
    assert "mine.py:14" in said


def test_run_filters_one_program(uplinks: UplinkLab, system: System) -> None:
    path = profile_of(system, 'dns_answer = "address"')
    shown = system.tunflow("run", "--profile", str(path), "--", "curl", "-sS", "-i", f"http://{BLOCKED}/1k").stdout
    assert "This page is blocked" in shown
    size = ("curl", "-sS", "-o", "/dev/null", "-w", "%{size_download}", f"http://{ALLOWED}/1k")
    assert system.tunflow("run", "--profile", str(path), "--", *size).stdout == "1024"


def test_the_log_command(system: System) -> None:
    path = profile_of(system)
    (Path(system.directory) / "filter.jsonl").write_text('{"event": "counts", "blocked": 3}\n')
    assert "3 blocked" in system.ok("filter", "log", str(path))
    assert json.loads(system.ok("filter", "status", str(path), "--json"))["counts"] == {"blocked": 3}
    (listed,) = json.loads(system.ok("filter", "lists", str(path), "--json"))
    assert (listed["rules"], listed["broken"]) == (2, 1)


def test_the_filter_of_the_tunnel_that_is_up_is_meant(system: System) -> None:
    path = profile_of(system)
    refused = system.tunflow("filter", "status")
    assert (refused.returncode, "say a PROFILE: no tunnel is up" in refused.stderr) == (2, True), refused
    system.ok("up", str(path))
    assert json.loads(system.ok("filter", "status", "--json")) == json.loads(
        system.ok("filter", "status", str(path), "--json")
    )
    assert "2 rules" in system.ok("filter", "lists")
    assert system.ok("filter", "test", f"http://{BLOCKED}/").startswith("blocked")
    assert "no list of the profile has a url" in system.ok("filter", "update")
