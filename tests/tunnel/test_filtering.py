"""A profile's filter on one driver after the other."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tunflow.dataplane.admission import Admission
from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.driver import Driver
from tunflow.endpoint import endpoint
from tunflow.errors import LocalError
from tunflow.filter.judge import Ruling
from tunflow.flow import FlowInfo
from tunflow.host.memory import memory_pair
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor
from tunflow.outbound.direct import DirectOutbound
from tunflow.profiles.profile import Profile
from tunflow.profiles.sections.provider import make_provider
from tunflow.profiles.store import load_profile
from tunflow.providers.filter_flow import FilterFlow
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
    assert filtering._template == "my own page"
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
    class Names:
        def use_rules(self, rules):
            self.rules = rules
            return True

        def close(self):
            pass

    one = driver()
    names = Names()
    one.admission.use_names(names)
    filtering = change(one, profile(f'close = ["{close}"]'), None, print)
    assert names.rules.hides_services is (close == "ech")
    change(one, profile("enabled = false"), filtering, print)
    assert not names.rules.hides_services


def test_safe_search_needs_a_name_server(driver, profile):
    with pytest.raises(LocalError, match="needs a name server"):
        change(driver(), profile("safe_search = true"), None, print)


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
