"""A plan on a device in memory: what is put together, what a reload changes, and what is given back."""

from __future__ import annotations

import ast
import io
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import tunflow
from tunflow.dataplane.served_names import ServedNames
from tunflow.errors import LocalError
from tunflow.host.memory import memory_pair
from tunflow.loop.reactor import Reactor
from tunflow.outbound.direct import DirectOutbound
from tunflow.profiles.file import parse
from tunflow.protocols.block.outbound import BlockOutbound
from tunflow.protocols.registry import parse_server
from tunflow.testing.packet_script import ScriptedClient
from tunflow.tunnel.assemble import Dataplane, ServingContext, assemble
from tunflow.tunnel.compile import compile_profile
from tunflow.tunnel.outbounds import make_outbounds
from tunflow.tunnel.plan import Plan, plan_of_servers
from tunflow.tunnel.process_filter import ProcessFilter
from tunflow.wire.tcp import SYN

GROUPS = """\
rules = ["MATCH,pick"]
dns.mode = "off"
[servers.one]
url = "block://"
[servers.two]
url = "block://"
[groups.pick]
type = "select"
servers = ["one", "two"]
"""


class World:
    """A device with a program's end, and what was said."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.device, self.card = memory_pair(vnet=False)
        self.lines: list[str] = []
        self.before = self.reactor.watched

    def assemble(self, plan: Plan, **options) -> Dataplane:
        serving = ServingContext(
            self.reactor, self.lines.append, ProcessFilter(self.reactor, self.lines.append), **options
        )
        return assemble(plan, make_outbounds(plan), self.device, serving)

    def connect(self, port: int) -> None:
        self.card.write([[bytes(10), ScriptedClient(source_port=port).packet(SYN, seq=0)]])
        self.reactor.run_once(1)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.reactor.close()


def compiled(text: str) -> Plan:
    return compile_profile(parse(text, "p.toml"))


def test_options_reach_the_parts_that_they_are_about(world: World) -> None:
    pcap = io.BytesIO()
    plan = plan_of_servers([parse_server("block://")])
    made = world.assemble(plan, verbose=True, memory_limit=1 << 20, descriptors=7, pcap=pcap, tells_statistics=True)
    world.connect(40001)
    context = made.driver.context
    assert context.stack.budget.limit == 1 << 20
    assert context.stack.own == plan.inside
    assert pcap.getvalue()[:4] == b"\x0a\x0d\x0d\x0a"
    assert len(pcap.getvalue()) > 200
    made.close()
    assert any(line.startswith("TCP flows 1,") for line in world.lines)


def test_a_reload_decides_new_flows_and_keeps_what_was_chosen(world: World) -> None:
    plan = compiled(GROUPS)
    made = world.assemble(plan, verbose=True)
    assert made.rules is not None
    made.rules.routing.groups.select("pick", "two")
    world.connect(40001)
    assert world.lines[-1].endswith("pick -> two, by p.toml:1 MATCH,pick")
    more = compiled(GROUPS.replace('["MATCH', '["DST-PORT,80,REJECT", "MATCH'))
    made.use(more, make_outbounds(more))
    world.connect(40002)
    assert world.lines[-1].endswith("REJECT, by p.toml:1 DST-PORT,80,REJECT")
    assert made.rules.routing.groups.facts()[0]["now"] == "two"
    alone = compiled('server = "block://"\ndns.mode = "tcp"')
    made.use(alone, make_outbounds(alone))
    assert made.rules is None
    assert isinstance(made.default, BlockOutbound)
    assert isinstance(made.driver.admission.names, ServedNames)
    made.use(plan, make_outbounds(plan))
    assert made.rules is not None
    assert made.driver.admission.names is None
    made.close()


def test_a_plan_is_used_by_two_tunnels_that_share_nothing(world: World) -> None:
    plan = compiled(GROUPS)
    first, second = (make_outbounds(plan).routing for _ in range(2))
    assert first is not None
    assert second is not None
    first.groups.select("pick", "two")
    assert second.groups.facts()[0]["now"] == "one"


def test_what_cannot_be_served_is_given_back(world: World) -> None:
    plan = compiled('server = "block://"\n[dns]\nservers = ["tcp://1.1.1.1#nobody"]')
    with pytest.raises(LocalError, match="no server is called 'nobody'"):
        world.assemble(plan)
    assert world.reactor.watched == world.before


def test_names_are_asked_of_tor_where_tor_is() -> None:
    with pytest.raises(LocalError, match="the last server is not tor://"):
        make_outbounds(compiled('server = "block://"\ndns.mode = "tor"'))


def test_a_tunnel_is_put_together_in_one_place() -> None:
    source = Path(tunflow.__file__).parent
    made = {"Driver", "Admission", "FlowContext.on"}
    places = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in made
    }
    assert places == {"tunnel/assemble.py", "testing/provider_rig.py"}


BY_CHOICE = """\
rules = ["MATCH,pick"]
dns.servers = ["tcp://192.0.2.53"]
[servers.one]
url = "socks5://127.0.0.1:{}"
[servers.two]
url = "socks5://127.0.0.1:{}"
[groups.pick]
type = "select"
servers = ["one", "two", "REJECT"]
"""


def is_asked(server: socket.socket, world: World) -> bool:
    """Whether somebody connects to a server in the next rounds."""
    for _ in range(20):
        world.reactor.run_once(0.05)
        with suppress(BlockingIOError):
            server.accept()[0].close()
            return True
    return False


@pytest.mark.parametrize(
    ("rules", "kind"),
    [
        (("IP-CIDR,127.0.0.0/8,DIRECT", "MATCH,REJECT"), BlockOutbound),
        (("IP-CIDR,127.0.0.0/8,REJECT", "MATCH,DIRECT"), DirectOutbound),
    ],
)
def test_pings_go_where_flows_go_that_no_rule_is_about(world: World, rules: tuple[str, ...], kind: type) -> None:
    """Who refuses the rest does not have it pinged straight out because some other flows go there."""
    lines = ", ".join(f'"{rule}"' for rule in rules)
    dataplane = world.assemble(compiled(f'rules = [{lines}]\ndns.mode = "off"'))
    assert type(dataplane.driver.admission.ping_dialer()) is kind
    dataplane.close()


def test_names_are_asked_through_what_a_group_chooses_now(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        for server in (one, two):
            server.setblocking(False)
        ports = [server.getsockname()[1] for server in (one, two)]
        made = world.assemble(compiled(BY_CHOICE.format(*ports)))
        names = made.driver.admission.names
        assert isinstance(names, ServedNames)
        assert made.rules is not None
        names.server.resolve("a.example.com", lambda _: None)
        assert is_asked(one, world)
        made.rules.routing.groups.select("pick", "two")
        assert made.default.label.endswith(str(ports[1]))
        names.server.resolve("b.example.com", lambda _: None)
        assert is_asked(two, world)
        made.close()
