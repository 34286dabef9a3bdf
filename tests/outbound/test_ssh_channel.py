"""A channel of SSH as a conduit: windows, ends, and what is left undone."""

from __future__ import annotations

import pytest

from tunflow.loop.reactor import Reactor
from tunflow.outbound.ssh_channel import SEND_ROOM, WINDOW, SSHChannel


class Far:
    """asyncssh's channel."""

    def __init__(self):
        self.calls = []
        self.waiting = 0

    def __getattr__(self, name):
        return lambda *arguments: self.calls.append((name, *arguments))

    def on_resume(self):
        pass

    def resume_reading(self):
        self.calls.append(("resume_reading",))
        self.on_resume()

    def get_write_buffer_size(self):
        return self.waiting


class User:
    told = 0

    def service(self):
        self.told += 1


def served(channel):
    """How often the user was told, after another round."""
    channel.reactor.run_once(0)
    return channel.user.told


@pytest.fixture
def made():
    reactor = Reactor()
    left = []
    channel = SSHChannel(reactor, lambda: 0, left.append)
    channel.user = User()
    channel.reactor = reactor
    far = Far()
    channel.connection_made(far)
    yield channel, far, left
    reactor.close()


def test_reading_stops_when_nobody_takes_and_goes_on_when_somebody_does(made):
    channel, far, _ = made
    channel.data_received(bytes(WINDOW), None)
    assert far.calls == [("pause_reading",)]
    assert sum(map(len, channel.take(10))) == 10
    assert channel.readable == WINDOW - 10
    channel.take(WINDOW)
    assert far.calls == [("pause_reading",), ("resume_reading",)]


def test_each_way_ends_for_itself(made):
    channel, far, left = made
    channel.data_received(b"last", None)
    assert channel.eof_received()  # the other way stays open
    assert not channel.at_eof
    assert channel.take(9) == [b"last"]
    assert channel.at_eof
    channel.send([b"a", b"b"], 0.0)
    channel.close_write(0.0, [b"c"])
    assert far.calls == [("write", b"ab"), ("write", b"c"), ("write_eof",), ("close",)]
    assert channel.closed
    assert not channel.was_reset
    assert left == [channel]


def test_a_channel_that_is_closed_before_its_end_was_reset(made):
    channel, _, left = made
    channel.data_received(b"half", None)
    channel.connection_lost(None)
    assert channel.closed
    assert channel.was_reset
    assert left == [channel]
    channel.connection_lost(None)
    assert left == [channel]


def test_there_is_room_again_when_the_server_gives_some(made):
    channel, far, _ = made
    assert channel.send_room == SEND_ROOM
    far.waiting = SEND_ROOM
    assert channel.send_room == 0
    far.waiting = 0
    channel.resume_writing()
    assert served(channel) == 1


def test_bytes_that_come_from_within_a_call_of_the_user_are_told_later(made):
    channel, far, _ = made
    channel.data_received(bytes(WINDOW), None)
    served(channel)
    far.on_resume = lambda: channel.data_received(b"next", None)
    channel.take(WINDOW)
    assert channel.user.told == 1  # or the user would take the next bytes before it has handed these on
    assert channel.readable == 4
    assert served(channel) == 2


def test_what_is_given_up_before_it_stands_is_ended_when_it_does():
    reactor = Reactor()
    channel = SSHChannel(reactor, lambda: 0, lambda channel: None)
    channel.abort()
    far = Far()
    channel.connection_made(far)
    assert far.calls == [("abort",)]
    reactor.close()
