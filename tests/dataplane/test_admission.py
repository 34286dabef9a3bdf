"""One order for every flow that may begin, whatever it is made of."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import pytest
from driver_rig import DriverRig

from tunflow.dataplane.decision import Carry, Refuse
from tunflow.endpoint import Endpoint, endpoint
from tunflow.flow import FlowInfo
from tunflow.names.rules import NO_RULES, Unresolved
from tunflow.outbound.direct import DirectOutbound
from tunflow.protocols.codec import ProxyRefused, Refusal
from tunflow.protocols.contract import Blocked, NoDatagrams

TARGET = endpoint("192.0.2.1", 443)
OWN = endpoint("198.18.0.53", 80)
THERE = endpoint("192.0.2.99", 443)


class Steps(list):
    """What happened to one flow, in order."""

    def __init__(self, target=TARGET, raises=None):
        super().__init__()
        self.flow = FlowInfo("tcp", endpoint("198.18.0.1", 4000), target)
        self.raises = raises
        self.is_over = False
        self.is_joined = False

    def joins(self):
        self.append("joins")
        return self.is_joined

    def pass_filter(self, stage, go_on):
        self.append("filter")
        if stage is not None:
            go_on()

    def ask(self, policy):
        self.append("policy")
        return policy.decision

    def wait(self):
        self.append("wait")
        return self.token

    token = 1

    def waits_by(self, token):
        return token == self.token

    def carry(self, dialer, target):
        self.append(("carry", target))
        if self.raises is not None:
            raise self.raises

    def refuse(self, how):
        self.append(how)

    def delegate(self, decision):
        self.append(("delegate", decision))

    def unreachable(self):
        self.append("unreachable")

    def not_carried(self, is_full):
        self.append(("not carried", is_full))


class Names:
    """Names of which one is looked up."""

    def __init__(self, says=None, outside=None):
        self.says, self.whereto = says, outside
        self.then = None
        self.closed = 0

    def admit(self, flow):
        flow.hostname = "known"
        return self.says

    def outside(self, target, dialer):
        return self.whereto if self.whereto != "the target" else target

    def resolve(self, name, then, ipv6_first=False, flow=None):
        self.then = then

    def use_rules(self, rules):
        return True

    def close(self):
        self.closed += 1


@pytest.fixture
def admission():
    rig = DriverRig(DirectOutbound(), 443, inside=frozenset({OWN.host}))
    yield rig.admission
    rig.close()


def test_the_order(admission):
    names = Names(outside="the target")
    admission.use_names(names)
    admission.use_filter(lambda: None)
    admission.use(DirectOutbound(), SimpleNamespace(decision=Carry(DirectOutbound(), THERE)))
    steps = Steps()
    admission.admit(steps)
    assert steps.flow.hostname == "known"
    assert steps == ["joins", "filter", "policy", ("carry", THERE)]


def test_each_step_may_be_the_last(admission):
    admission.use(DirectOutbound(), SimpleNamespace(decision=Carry(DirectOutbound(), THERE)))
    own, joined, waits, late = Steps(OWN), Steps(), Steps(), Steps()
    admission.admit(own)
    assert own == [Refuse.RESET]
    joined.is_joined = True
    admission.admit(joined)
    assert joined == ["joins"]
    admission.use(DirectOutbound(), None)
    admission.admit(waits)
    assert waits == ["joins", ("carry", TARGET)]

    undecided = Steps()
    admission.use(DirectOutbound(), SimpleNamespace(decision=None))
    admission.admit(undecided)
    assert undecided == ["joins", "policy", "wait"]
    admission.use_names(Names(says=Refuse.DROP))
    admission.admit(late)
    assert late == [Refuse.DROP]


def test_nothing_is_done_for_a_client_that_is_gone(admission):
    steps = Steps()
    steps.is_over = True
    admission.carry_out(steps, Carry(DirectOutbound(), THERE))
    assert steps == []


def test_a_name_is_looked_up_for_who_takes_none(admission):
    names = Names(outside=Unresolved("a.test", is_ipv6=False))
    admission.use_names(names)
    steps, gone = Steps(), Steps()
    admission.admit(steps)
    assert steps == ["joins", "wait"]
    names.then([THERE.host])
    assert steps[2:] == [("carry", THERE)]
    admission.admit(gone)
    gone.token = 2  # somebody decided otherwise meanwhile
    names.then([THERE.host])
    assert gone == ["joins", "wait"]
    nobody = Steps()
    admission.admit(nobody)
    names.then([])
    assert nobody[2:] == ["unreachable"]


def test_an_address_whose_name_is_forgotten(admission):
    admission.use_names(Names(outside=None))
    steps = Steps()
    admission.admit(steps)
    assert steps == ["joins", "unreachable"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (NoDatagrams("none"), Refuse.RESET),
        (Blocked("no"), Refuse.PROHIBITED),
        (ProxyRefused(Refusal.PROHIBITED, "no"), ("not carried", False)),
        (OSError(errno.EMFILE, "full"), ("not carried", True)),
        (OSError(errno.ENETUNREACH, "away"), ("not carried", False)),
    ],
)
def test_what_keeps_it_from_being_carried(admission, error, told):
    steps = Steps(raises=error)
    admission.admit(steps)
    assert steps[-1] == told


def test_who_answered_names_before_is_given_back(admission):
    first, second = Names(), Names()
    admission.use_names(first)
    admission.use_names(first)
    assert first.closed == 0
    admission.use_names(second)
    assert (first.closed, second.closed) == (1, 0)
    assert admission.use_name_rules(NO_RULES)
    admission.use_names(None)
    assert not admission.use_name_rules(NO_RULES)
    assert not admission.is_fake(Endpoint(TARGET.host, 1).host)
