"""On-demand rules as Apple's documentation has them: ANDed conditions, the first match counts (NEOnDemandRule.h)."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.errors import LocalError
from tunflow.providers.network_path import InterfaceType, NetworkPath, PathStatus
from tunflow.providers.on_demand import (
    EvaluateConnectionAction,
    EvaluateConnectionRule,
    Lookup,
    OnDemandAction,
    OnDemandRule,
    OnDemandRuleConnect,
    OnDemandRuleDisconnect,
    OnDemandRuleEvaluateConnection,
    OnDemandRuleIgnore,
    Outcome,
    Probe,
    evaluate,
    why_never,
)

CONNECT, DISCONNECT, IGNORE = OnDemandAction.CONNECT, OnDemandAction.DISCONNECT, OnDemandAction.IGNORE


def path(kind: InterfaceType = InterfaceType.ETHERNET, ssid: str | None = None, dns=(), search=()) -> NetworkPath:
    servers = tuple(ip_address(server) for server in dns)
    return NetworkPath(PathStatus.SATISFIED, "if0", kind, (), ssid, servers, tuple(search))


HOME = path(InterfaceType.WIFI, "Home", ["192.168.1.1"], ["lan"])
OFFICE = path(dns=["10.0.0.53", "10.0.1.53"], search=["Corp.example."])


@pytest.mark.parametrize(
    ("rule", "matching"),
    [
        (OnDemandRuleConnect(), [HOME, OFFICE]),
        (OnDemandRuleConnect(interface_type_match=InterfaceType.WIFI), [HOME]),
        (OnDemandRuleConnect(ssid_match=("Home", "Other")), [HOME]),
        (OnDemandRuleConnect(ssid_match=("home",)), []),
        (OnDemandRuleConnect(dns_search_domain_match=("corp.example",)), [OFFICE]),
        (OnDemandRuleConnect(dns_server_address_match=("10.0.0.53",)), []),  # *each* of the resolvers must be listed
        (OnDemandRuleConnect(dns_server_address_match=("10.0.1.53", "10.0.0.53", "10.9.9.9")), [OFFICE]),
        (OnDemandRuleConnect(interface_type_match=InterfaceType.ETHERNET, ssid_match=("Home",)), []),  # ANDed
        (OnDemandRuleConnect(interface_type_match=InterfaceType.WIFI, dns_search_domain_match=("lan",)), [HOME]),
    ],
)
def test_conditions(rule: OnDemandRule, matching: list[NetworkPath]) -> None:
    for network in (HOME, OFFICE):
        assert evaluate([rule], network, {}) == (Outcome(CONNECT, 0) if network in matching else Outcome(IGNORE, None))


def test_a_network_without_resolvers_matches_no_list_of_them() -> None:
    assert not OnDemandRuleConnect(dns_server_address_match=("10.0.0.53",)).matches(path())


def test_the_first_match_counts() -> None:
    rules = [OnDemandRuleDisconnect(ssid_match=("Home",)), OnDemandRuleIgnore(interface_type_match=InterfaceType.WIFI)]
    rules.append(OnDemandRuleConnect())
    assert evaluate(rules, HOME, {}) == Outcome(DISCONNECT, 0)
    assert evaluate(rules, path(InterfaceType.WIFI, "Cafe"), {}) == Outcome(IGNORE, 1)
    assert evaluate(rules, OFFICE, {}) == Outcome(CONNECT, 2)


def test_without_a_network_nothing_changes() -> None:
    assert evaluate([OnDemandRuleDisconnect()], NetworkPath(PathStatus.UNSATISFIED), {}) == Outcome(IGNORE, None)


def test_a_probe_is_asked_last_and_only_where_it_decides() -> None:
    rules = [OnDemandRuleDisconnect(ssid_match=("Home",), probe_url="http://a/"), OnDemandRuleConnect()]
    assert evaluate(rules, OFFICE, {}) == Outcome(CONNECT, 1)
    assert evaluate(rules, HOME, {}) == Probe("http://a/")
    assert evaluate(rules, HOME, {Probe("http://a/"): True}) == Outcome(DISCONNECT, 0)
    assert evaluate(rules, HOME, {Probe("http://a/"): False}) == Outcome(CONNECT, 1)


def connection(*domains: str, never: bool = False, dns: tuple[str, ...] = (), probe: str | None = None):
    action = EvaluateConnectionAction.NEVER_CONNECT if never else EvaluateConnectionAction.CONNECT_IF_NEEDED
    return EvaluateConnectionRule(match_domains=domains, action=action, use_dns_servers=dns, probe_url=probe)


def answered(rule: OnDemandRule, no: set[object]) -> tuple[Outcome, list[object]]:
    """What comes of it when everything in `no` is answered with no; and what was asked."""
    answers: dict = {}
    while not isinstance(outcome := evaluate([rule], OFFICE, answers), Outcome):
        answers[outcome] = outcome not in no
    return outcome, list(answers)


def test_evaluate_connection() -> None:
    rule = OnDemandRuleEvaluateConnection(
        connection_rules=(
            connection("never.corp.example", never=True),
            connection("corp.example", "never.corp.example", dns=("10.0.0.53",)),
            connection("www.example", probe="http://p/"),
            connection("both.example", dns=("10.0.0.53",), probe="http://q/"),
        )
    )
    asked = [
        Lookup("corp.example", ("10.0.0.53",)),
        Probe("http://p/"),
        Lookup("both.example", ("10.0.0.53",)),
        Probe("http://q/"),
    ]
    assert answered(rule, set()) == (Outcome(IGNORE, 0), asked)
    for number, each in enumerate(asked):
        assert answered(rule, {each}) == (Outcome(CONNECT, 0), asked[: number + 1])


def test_rules_that_can_never_match() -> None:
    connect = OnDemandRuleConnect
    for rules, number, said in (
        ([connect(ssid_match=())], 0, "ssid_match is empty"),
        ([connect(ssid_match=("a",), interface_type_match=InterfaceType.ETHERNET)], 0, "only Wi-Fi has an SSID"),
        ([connect(), OnDemandRuleDisconnect(ssid_match=("a",))], 1, "rule 1 comes first"),
        ([connect(interface_type_match=InterfaceType.WIFI), connect(ssid_match=("a",))], 1, "rule 1 comes first"),
        (
            [connect(ssid_match=("x",)), connect(ssid_match=("a", "b")), connect(ssid_match=("b",))],
            2,
            "rule 2 comes first",
        ),
    ):
        found = why_never(rules)
        assert found is not None
        assert found[0] == number
        assert said in found[1]
    assert why_never([connect(probe_url="http://a/"), connect()]) is None
    assert why_never([connect(ssid_match=("a",)), connect(ssid_match=("a", "b")), connect()]) is None


kinds = st.sampled_from(list(InterfaceType))
few = st.sampled_from(["a", "b"])
lists = st.none() | st.lists(few, max_size=2).map(tuple)
addresses = st.none() | st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2"]), max_size=2).map(tuple)
rules = st.builds(
    OnDemandRuleConnect,
    interface_type_match=st.none() | kinds,
    ssid_match=lists,
    dns_server_address_match=addresses,
    dns_search_domain_match=lists,
)
networks = kinds.flatmap(
    lambda kind: st.builds(
        path,
        st.just(kind),
        (st.none() | few) if kind is InterfaceType.WIFI else st.none(),
        st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2"]), max_size=2),
        st.lists(few, max_size=2),
    )
)


@given(st.lists(rules, max_size=4), networks)
def test_a_rule_that_is_said_never_to_match_never_does(given_rules: list[OnDemandRule], network: NetworkPath) -> None:
    found = why_never(given_rules)
    if found is not None:
        assert evaluate(given_rules, network, {}).rule != found[0]


def test_wrong_values() -> None:
    with pytest.raises(LocalError, match="dns_server_address_match"):
        OnDemandRuleConnect(dns_server_address_match=("corp",))
    with pytest.raises(LocalError, match="connection_rules"):
        OnDemandRuleEvaluateConnection()
    with pytest.raises(LocalError, match="CONNECT_IF_NEEDED only"):
        connection("a.example", never=True, probe="http://p/")
    with pytest.raises(LocalError, match="match_domains"):
        connection()
