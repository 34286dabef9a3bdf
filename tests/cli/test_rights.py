"""What the process that serves a tunnel tells its supervisor when it ends."""

from __future__ import annotations

import socket

import pytest

from tunflow.cli.rights import Rights
from tunflow.errors import RemoteError
from tunflow.host.network.helper import receive
from tunflow.host.runtime import RuntimeDirectory
from tunflow.host.supervised_process import SupervisorLink
from tunflow.protocols.registry import parse_server
from tunflow.tunnel.app_groups import AppGroups
from tunflow.tunnel.plan import plan_of_servers


@pytest.fixture
def supervisor():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def rights(supervisor, tmp_path, monkeypatch):
    monkeypatch.setattr("tunflow.tunnel.app_groups.ControlGroup.create", lambda _: None)
    link = SupervisorLink(supervisor[1], 1, 0, None, None, 0, 1.0)
    plan = plan_of_servers([parse_server("direct://")])
    return Rights(RuntimeDirectory(tmp_path), plan, print, link, AppGroups())


@pytest.mark.parametrize("failure", [None, RemoteError("Invalid argument")])
def test_one_that_something_unforeseen_ends_is_lost_and_opens_nothing(rights, supervisor, failure):
    rights.is_up()
    assert receive(supervisor[0])[0] == {"ready": True}
    rights.failure = failure
    rights.leave()
    said, _ = receive(supervisor[0])
    assert said == {"lost": "something unforeseen ended it" if failure is None else str(failure), "unreached": False}


def test_one_that_is_lost_before_it_was_connected_says_so(rights, supervisor):
    rights.is_up()
    receive(supervisor[0])
    rights.lost, rights.is_unreached = "the login page is out of the way", True
    rights.leave()
    assert receive(supervisor[0])[0] == {"lost": "the login page is out of the way", "unreached": True}


def test_one_that_never_came_up_leaves(rights, supervisor):
    rights.failure = RemoteError("cannot reach it")
    rights.leave()
    said, _ = receive(supervisor[0])
    assert said == {"leave": False, "stopped": False, "failure": "cannot reach it", "unreached": True}


def test_one_that_was_told_to_end_leaves(rights, supervisor):
    rights.is_up()
    receive(supervisor[0])
    rights.stopped = rights.is_decided = True
    rights.leave()
    assert receive(supervisor[0])[0] == {"leave": False, "stopped": True, "failure": None, "unreached": False}
