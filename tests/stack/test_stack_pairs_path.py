"""Two stacks over a path that is narrower than both believe, and says so."""

from __future__ import annotations

import pytest
from pair_rig import Rig

from tunflow.testing.link import Conditions

HEADERS = {4: 20 + 20 + 12, 6: 40 + 20 + 12}
"""IP, TCP and timestamps."""


@pytest.mark.parametrize("version", [4, 6])
def test_the_mtu_of_a_narrow_path_is_believed(version):
    # RFC 1191 §3 and RFC 8201 §4: the ICMP answer names the MTU of the path.
    rig = Rig(Conditions(delay=0.01, mtu=1300, says_too_big=True), version=version)
    flow = rig.connect()
    rig.pair.wait(1)
    for owner in flow.owners:
        rig.transfer(owner, 300_000)
    assert rig.pair.run(lambda: all(owner.received == 300_000 for owner in flow.owners), 1)
    assert [owner.connection.mss for owner in flow.owners] == [1300 - HEADERS[version]] * 2


@pytest.mark.parametrize("version", [4, 6])
def test_a_path_may_become_narrow_under_way(version):
    rig = Rig(Conditions(delay=0.01), version=version)
    flow = rig.connect()
    rig.pair.wait(1)
    rig.transfer(flow.opener, 2_000_000)
    rig.pair.wait(0.05)
    rig.pair.there.conditions = Conditions(delay=0.01, mtu=1280, says_too_big=True)
    assert rig.pair.run(lambda: flow.answerer.received == 2_000_000, 60)
    assert flow.answerer.longest_wait < 0.2
