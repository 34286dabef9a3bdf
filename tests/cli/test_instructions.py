"""What `up` was told and what a reload says of it: which of both holds."""

from __future__ import annotations

import dataclasses

import pytest

from tunflow.addresses import ip_interface
from tunflow.cli.instructions import Instructions
from tunflow.cli.requests import changed_switches
from tunflow.errors import LocalError
from tunflow.host.network.settings import AppScope, HostSettings

STARTED = Instructions(
    "/p/home.toml",
    servers=("direct://",),
    dns="off",
    kill_switch=True,
    exclude_lan=True,
    per_app=False,
    gateways=("br0",),
    verbose=True,
    memory_limit=1 << 20,
    pcap="/x",
    stats=True,
    api="127.0.0.1:9090",
    api_secret="s",
)


def test_a_reload_that_says_nothing_changes_nothing():
    assert Instructions("/p/home.toml", text="x").as_started(STARTED).to_json() == _with(text="x").to_json()


def test_another_profile_has_its_own_servers_and_names():
    made = Instructions("/p/work.toml").as_started(STARTED)
    assert (made.servers, made.dns) == ((), None)
    assert (made.kill_switch, made.exclude_lan, made.per_app, made.gateways) == (True, True, False, ("br0",))
    assert (made.api, made.verbose, made.memory_limit) == ("127.0.0.1:9090", True, 1 << 20)


def test_what_a_reload_says_holds():
    said = Instructions("/p/home.toml", None, ("block://",), "tcp", False, False, True, ("br1",))
    made = said.as_started(STARTED)
    assert (made.servers, made.dns, made.gateways) == (("block://",), "tcp", ("br1",))
    assert (made.kill_switch, made.exclude_lan, made.per_app) == (False, False, True)


def test_each_switch_that_is_turned_is_told():
    addresses = (ip_interface("198.18.0.1/30"),)
    off = HostSettings(addresses)
    on = HostSettings(
        addresses,
        kill_switch=True,
        exclude_lan=True,
        gateways=("br0",),
        cgroups=("/tunflow/apps",),
        scope=AppScope.ONLY,
    )
    assert list(changed_switches(off, off)) == []
    assert list(changed_switches(off, on)) == [
        "the kill switch is on now",
        "the networks that this machine is in are reached directly now",
        "only programs of tunflow exec use the tunnel now",
        "traffic is carried for the hosts behind br0 now",
    ]
    assert next(changed_switches(on, off)) == "the kill switch is off now: it was not asked for"


def _with(text: str) -> Instructions:
    return dataclasses.replace(STARTED, text=text)


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2J", "\u202e"])
def test_a_profile_is_named_by_what_can_be_printed(name: str) -> None:
    with pytest.raises(LocalError, match="profile: expected a name that can be printed"):
        Instructions.from_data({"profile": name, "text": "x"})
