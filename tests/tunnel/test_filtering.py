"""A profile's filter on one driver after the other."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from open_files import open_files, opened_since
from tunflow.dataplane.admission import Admission
from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.driver import Driver
from tunflow.dns.answers import A
from tunflow.dns.names import text_of
from tunflow.endpoint import endpoint
from tunflow.errors import LocalError
from tunflow.filter.judge import Forged, Ruling
from tunflow.flow import FlowInfo
from tunflow.host.memory import memory_pair
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor
from tunflow.names.rules import MadeAnswer
from tunflow.outbound.direct import DirectOutbound
from tunflow.profiles.profile import Profile
from tunflow.profiles.sections.provider import make_provider
from tunflow.profiles.store import load_profile
from tunflow.providers.content_filter import ALIASES
from tunflow.providers.filter_flow import FilterFlow
from tunflow.providers.filter_verdicts import Action, NewFlowVerdict
from tunflow.tunnel.compile import compile_profile, with_dns_mode
from tunflow.tunnel.filter_lists import system_zone
from tunflow.tunnel.filtering import change
from tunflow.tunnel.rule_data import DATA_VARIABLE


@pytest.fixture
def driver():
    reactor = Reactor()
    drivers = []

    def make():
        device, _card = memory_pair(vnet=False)
        context = FlowContext.on(reactor, device, CauseLog(print, lambda: 0.0))
        drivers.append(Driver(context, Admission(context, DirectOutbound())))
        return drivers[-1]

    yield make
    for each in drivers:
        each.close()
    reactor.close()


@pytest.fixture
def profile(tmp_path):
    def make(filter_lines="", names="blocked.example\n") -> Profile:
        (tmp_path / "list.txt").write_text(names)
        path = tmp_path / "p.toml"
        path.write_text(
            f'server = "direct://"\n[filter]\nlog = "log"\n{filter_lines}\n'
            '[[filter.lists]]\nname = "l"\nfile = "list.txt"\n'
        )
        path.chmod(0o600)
        return load_profile(str(path), print)

    return make


def test_a_second_driver_is_filtered_as_the_first_was(driver, profile):
    """On demand, and after a new start of the engine, there is another driver: it must not be open."""
    first, second = driver(), driver()
    filtering = change(first, profile(), None, print)
    assert change(second, profile(), filtering, print) is filtering
    assert second.admission.filter is not None
    assert second.admission.filter is not first.admission.filter


def test_a_reload_takes_everything_of_the_filter(driver, profile, tmp_path):
    one = driver()
    filtering = change(one, profile(), None, print)
    (tmp_path / "page.html").write_text("my own page")
    assert change(one, profile('page = "page.html"\non_failure = "open"'), filtering, print) is filtering
    flow = FilterFlow(FlowInfo("tcp", endpoint("198.18.0.1", 4000), endpoint("192.0.2.1", 80)))
    shown = one.admission.filter.page(flow, NewFlowVerdict.drop())
    assert shown is not None
    assert shown.endswith(b"my own page")
    assert one.admission.filter.on_failure_pass


def test_a_reload_that_fails_changes_nothing(driver, profile):
    one = driver()
    filtering = change(one, profile(), None, print)
    judge = filtering.content.judge
    bad = profile('page = "there-is-none.html"')
    with pytest.raises(LocalError, match=r"filter\.page"):
        change(one, bad, filtering, print)
    assert filtering.content.judge is judge
    assert one.admission.filter is filtering.flow_filter


def test_a_list_that_became_garbage_is_not_taken(driver, profile):
    one = driver()
    filtering = change(one, profile(), None, print)
    judge = filtering.content.judge
    with pytest.raises(LocalError, match="has no rule"):
        change(one, profile(names="<html>\nnot a list\n"), filtering, print)
    assert filtering.content.judge is judge
    assert change(one, profile(names="! everything is allowed for now\n"), filtering, print) is filtering


def test_a_list_that_was_never_fetched_lets_nothing_through(driver, profile, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    lines = '[[filter.lists]]\nname = "ads"\nurl = "https://lists.example/ads.txt"'
    one = driver()
    with pytest.raises(LocalError, match="the list ads was never fetched: run `tunflow filter update`"):
        change(one, profile(lines), None, print)
    filtering = change(one, profile('on_failure = "open"\n' + lines), None, print)
    assert "left out" in capsys.readouterr().out
    assert [use.list.name for use in filtering.content.judge.lists] == ["l"]


def test_a_filter_that_cannot_be_made_leaves_no_log_open(driver, profile, tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    one, before = driver(), open_files()
    for lines in (
        '[[filter.lists]]\nname = "ads"\nurl = "https://lists.example/ads.txt"',
        'provider = "nothing.py:None"',
    ):
        with pytest.raises(LocalError) as failed:
            change(one, profile(lines), None, print)
        assert not opened_since(before), failed


def test_counts_are_written_each_minute_also_when_nothing_happens_any_more(driver, profile, tmp_path, monkeypatch):
    monkeypatch.setattr("tunflow.tunnel.filtering.COUNTED", 0.01)
    one = driver()
    filtering = change(one, profile('privacy = "counts"'), None, print)
    log, flow = tmp_path / "log", FilterFlow(FlowInfo("tcp", endpoint("192.0.2.1", 1), endpoint("192.0.2.2", 80), None))
    for count in (1, 2):
        filtering.log.record(flow, Ruling(True, "why", "l", 1), "host.example")
        while len(log.read_text().splitlines()) < count:
            one.context.reactor.run_once(1)
    assert '"blocked": 1, "list l": 1' in log.read_text()
    assert "host.example" not in log.read_text()


def test_what_a_log_says_does_nothing_to_a_terminal(driver, profile, tmp_path):
    """Whoever is filtered chooses hosts, and the log is read on a terminal."""
    filtering = change(driver(), profile('privacy = "full"'), None, print)
    flow = FilterFlow(FlowInfo("tcp", endpoint("192.0.2.1", 1), endpoint("192.0.2.2", 80), None))
    filtering.log.record(flow, Ruling(True, "für Kinder"), "http://a\x9b31m\x1b[31m\x7f.example/")
    text = (tmp_path / "log").read_text()
    assert "für Kinder" in text
    assert text.rstrip("\n").isprintable()
    assert json.loads(text)["url"] == "http://a\x9b31m\x1b[31m\x7f.example/"


@pytest.mark.parametrize("is_link", [True, False])
def test_the_systems_zone(tmp_path, is_link):
    """A link as systemd makes it, or a copy as containers have it."""
    berlin, file = Path("/usr/share/zoneinfo/Europe/Berlin"), tmp_path / "localtime"
    if is_link:
        file.symlink_to(berlin)
    else:
        file.write_bytes(berlin.read_bytes())
    assert datetime(2026, 7, 1, tzinfo=system_zone(file)).utcoffset() == timedelta(hours=2)


def test_the_systems_zone_where_none_is_set(tmp_path):
    assert system_zone(tmp_path / "none") is UTC


def test_the_filter_can_be_taken_away(driver, profile):
    one = driver()
    filtering = change(one, profile(), None, print)
    assert change(one, profile("enabled = false"), filtering, print) is None
    assert one.admission.filter is None


def test_another_filter_takes_the_first_ones_place(driver, profile, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from tunflow.providers import FilterDataProvider\n\n\nclass Mine(FilterDataProvider):\n    pass\n"
    )
    one = driver()
    filtering = change(one, profile(), None, print)
    made = change(one, profile(f'provider = "{tmp_path}/mine.py:Mine"'), filtering, print)
    assert made is not filtering
    assert one.admission.filter is made.flow_filter


@pytest.mark.parametrize("close", ["ech", "quic"])
def test_the_keys_of_encrypted_hellos_are_kept_from_answers(driver, profile, close):
    one = driver()
    names = Names()
    one.admission.use_names(names)
    filtering = change(one, profile(f'close = ["{close}"]'), None, print)
    assert names.rules.hides_services is (close == "ech")
    change(one, profile("enabled = false"), filtering, print)
    assert not names.rules.hides_services


def test_safe_search_needs_a_name_server(driver, profile):
    for key in ("safe_search = true", 'forged = "refuse"'):
        with pytest.raises(LocalError, match="needs a name server"):
            change(driver(), profile(key), None, print)


def test_a_control_provider_needs_a_provider(profile):
    with pytest.raises(LocalError, match="control_provider"):
        profile('control_provider = "x:Y"')


def test_a_packet_tunnel_cannot_be_filtered(profile, tmp_path):
    (tmp_path / "packets.py").write_text(
        "from tunflow.providers import PacketTunnelProvider\n\n\nclass P(PacketTunnelProvider):\n    pass\n"
    )
    made = profile()
    text = (tmp_path / "p.toml").read_text().replace('server = "direct://"', 'provider = "packets.py:P"')
    (tmp_path / "p.toml").write_text(text)
    made = load_profile(str(tmp_path / "p.toml"), print)
    with pytest.raises(LocalError, match=r"p\.toml:2: .*packet tunnel"):
        make_provider(made)


class Names:
    """A name server that keeps the rules."""

    def use_rules(self, rules):
        self.rules = rules
        return True

    def close(self):
        pass


QUERY = FlowInfo("udp", endpoint("198.18.0.1", 4000), endpoint("192.0.2.53", 53))


@pytest.fixture
def rules(driver, profile):
    """The rules of names that a profile's filter makes, and the filter."""

    def make(filter_lines="", lines="blocked.example\n"):
        one, names = driver(), Names()
        one.admission.use_names(names)
        filtering = change(one, profile(filter_lines, lines), None, print)
        return names.rules, filtering

    return make


@pytest.mark.parametrize("answer", ["nxdomain", "address"])
@pytest.mark.parametrize("name", ["use-application-dns.net", "mask.icloud.com", "mask-h2.icloud.com", "dns.google"])
def test_names_by_which_browsers_ask_for_their_own_resolvers(rules, name, answer):
    made, _ = rules(f'close = ["encrypted-dns"]\ndns_answer = "{answer}"')
    assert made.refuses(name, QUERY)
    assert not made.refuses("fine.example", QUERY)
    assert made.refuses("blocked.example", QUERY) is (answer == "nxdomain")
    made, _ = rules()
    assert not made.refuses(name, QUERY)


@pytest.mark.parametrize("label", [b"a b", b"x\0", b"a.b", b"\\", b"\xff" * 63, b"\xff" * 63 + b"\x3f" + b"\xff" * 63])
def test_a_name_that_no_host_has_is_judged_by_the_domain_that_it_is_below(rules, label):
    """A domain may answer all names below it; and where names must be allowed, queries tell by such names, too."""
    wire = bytes((min(len(label), 63),)) + label + b"\7blocked\7example\0"
    made, _ = rules()
    assert made.refuses(text_of(wire), QUERY)
    assert made.refuses_answer("shop.example", [text_of(wire)], QUERY)
    assert not made.refuses(text_of(wire.replace(b"\7blocked", b"\5other")), QUERY)
    assert rules("only_allowed = true")[0].refuses(text_of(wire.replace(b"\7blocked", b"\5other")), QUERY)
    made, _ = rules("", "192.0.2.9 four.example\n||blocked.example^$dnstype=A\n")
    assert made.answers(text_of(wire), A, QUERY).records == ()
    assert not made.refuses("", QUERY)


def test_rules_about_answers_without_a_name_server_are_told(driver, profile):
    told = []
    change(driver(), profile("", "192.0.2.9 four.example\n"), None, told.append)
    assert len(told) == 1
    assert "no names are answered here" in told[0]
    change(driver(), profile("", "four.example\n"), None, told.append)
    assert len(told) == 1


def test_lists_say_what_names_are_answered_with_and_to_whom(rules):
    devices = '[filter.devices.tv]\nclients = ["198.18.0.1"]\ntags = ["device_tv"]\n[filter.devices.other]\n'
    lines = (
        "||one.example^$dnsrewrite=192.0.2.7,client=tv\n||two.example^$dnstype=AAAA,ctag=device_tv\n"
        "||one.example^$dnsrewrite=192.0.2.8,client=other\n||three.example^$ctag=~device_tv\n192.0.2.9 four.example\n"
    )
    made, _ = rules(f'{devices}clients = ["198.18.0.2"]', lines)
    assert made.answers("one.example", 1, QUERY) == MadeAnswer(records=((1, bytes([192, 0, 2, 7])),))
    assert made.answers("two.example", 28, QUERY) == MadeAnswer()
    assert made.answers("two.example", 1, QUERY) is None
    assert made.answers("four.example", 1, QUERY) == MadeAnswer(records=((1, bytes([192, 0, 2, 9])),))
    assert not made.refuses("three.example", QUERY)
    made, _ = rules()
    assert made.answers("one.example", 1, QUERY) is None


@pytest.mark.parametrize(
    ("lines", "name", "led_to", "refused"),
    [
        ("t.bad.example\n", "cloak.shop.example", ["t.bad.example"], True),
        ("t.bad.example\n", "cloak.shop.example", ["cdn.example", "x.t.bad.example"], True),
        ("t.bad.example\n", "cloak.shop.example", ["cdn.example", "bad.example"], False),
        ("t.bad.example\n@@||cloak.shop.example^\n", "cloak.shop.example", ["t.bad.example"], False),
        ("t.bad.example\n@@||t.bad.example^\n", "cloak.shop.example", ["t.bad.example"], False),
    ],
)
def test_aliases_of_blocked_names(rules, lines, name, led_to, refused):
    made, filtering = rules('privacy = "domains"', lines)
    assert made.refuses_answer(name, led_to, QUERY) is refused
    log = filtering.log.path.read_text()
    assert ("it is an alias of " in log) is refused
    flow = FilterFlow(FlowInfo("tcp", QUERY.client, endpoint("192.0.2.1", 443), name))
    assert (filtering.content.handle_new_flow(flow).action is Action.DROP) is refused
    assert len(filtering.content.aliases) == refused


def test_whose_aliases_are_worth_asking_for(rules):
    made, _ = rules("", "t.bad.example\n@@||ok.example^\n")
    asked = ("shop.example", "ok.example", "t.bad.example")
    assert [made.judges_aliases(each, QUERY) for each in asked] == [True, False, False]
    made, _ = rules('only_allowed = true\n[[filter.lists]]\nname = "ok"\nfile = "list.txt"\naction = "allow"')
    assert not made.judges_aliases("shop.example", QUERY)


def test_a_look_up_is_logged_once(rules):
    """Programs ask for IPv4, IPv6 and HTTPS records of a name, and again by another port: it is one thing refused."""
    made, filtering = rules('privacy = "domains"', "blocked.example\nother.example\n")
    again = FlowInfo("udp", endpoint("198.18.0.1", 4001), QUERY.target)
    another = FlowInfo("udp", endpoint("198.18.0.2", 4000), QUERY.target)
    for flow in (QUERY, again, another):
        for name in ("blocked.example", "other.example"):
            assert made.refuses(name, flow)
            assert made.refuses(name, flow)
    assert filtering.log.path.read_text().count('"blocked"') == 4


def test_aliases_where_blocked_names_have_addresses(rules):
    """The page stands there, so the name is answered, and the flow is refused."""
    made, filtering = rules('dns_answer = "address"', "t.bad.example\n")
    assert not made.refuses_answer("shop.example", ["t.bad.example"], QUERY)
    flow = FilterFlow(FlowInfo("tcp", QUERY.client, endpoint("192.0.2.1", 80), "shop.example"))
    assert filtering.content.handle_new_flow(flow).action is Action.REMEDIATE
    for number in range(2 * ALIASES):
        filtering.content.note_aliases(f"{number}.example", ("t.bad.example",))
    assert len(filtering.content.aliases) == ALIASES


def test_aliases_of_allowed_names(rules):
    """Sites are aliases of the networks that deliver them, and nobody allows those by name."""
    made, _ = rules('only_allowed = true\n[[filter.lists]]\nname = "ok"\nfile = "list.txt"\naction = "allow"')
    assert not made.refuses("www.blocked.example", QUERY)
    assert made.refuses("other.example", QUERY)
    assert not made.refuses_answer("www.blocked.example", ["x.cdn.example"], QUERY)


@pytest.mark.parametrize(
    "mode", ["tcp", "udp", "9.9.9.9", "udp://9.9.9.9:5353", "fake", "fake,9.9.9.9", "tls://9.9.9.9"]
)
def test_where_there_is_a_filter_every_query_is_answered(profile, mode):
    made = profile(f'[dns]\nmode = "{mode}"\n[filter.schedules]')
    assert compile_profile(made).names.scope is None
    assert compile_profile(with_dns_mode(made, "tcp")).names.scope is None
    assert compile_profile(with_dns_mode(made, "off")).names is None
    off = profile('enabled = false\n[dns]\nmode = "tcp"\n[filter.schedules]')
    assert compile_profile(off).names.scope is not None


@pytest.mark.parametrize("choice", ["pass", "tell", "refuse"])
def test_forged_names_are_told_in_the_log(rules, choice):
    _, filtering = rules(f'forged = "{choice}"')
    flow = FilterFlow(FlowInfo("tcp", QUERY.client, endpoint("192.0.2.1", 80)))
    filtering.content.handle_new_flow(flow)
    request = b"GET / HTTP/1.1\r\nHost: fine.example\r\n\r\n"
    verdict = filtering.content.handle_outbound_data(flow, 0, request)
    assert (verdict.action is Action.REMEDIATE) is (choice == "refuse")
    events = [json.loads(line) for line in filtering.log.path.read_text().splitlines()]
    wanted = {"pass": [], "tell": [("forged", "fine.example")], "refuse": [("blocked", "fine.example")]}
    assert [(event["event"], event["host"]) for event in events] == wanted[choice]
    filtering.close()
    assert ('"forged": 1' in filtering.log.path.read_text()) is (choice != "pass")


def test_nothing_is_forged_where_nobody_answers_names(driver, profile):
    filtering = change(driver(), profile(), None, print)
    assert filtering.content.forged is Forged.PASS


def test_a_list_of_a_hundred_megabytes_is_none(driver, profile, tmp_path):
    made = profile()
    with (tmp_path / "list.txt").open("r+b") as file:
        file.truncate(100 << 20)
    with pytest.raises(LocalError, match=r"list\.txt: more than \d+ bytes is no list"):
        change(driver(), made, None, print)
