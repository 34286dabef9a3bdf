"""asyncio on the reactor: both kinds of user in one thread."""

from __future__ import annotations

import asyncio
import os
import selectors
import socket
import sys
import threading

import pytest

from tunflow.loop.event_loop import ReactorLoop, ReactorSelector
from tunflow.loop.reactor import EDGE, READ, Reactor


@pytest.fixture
def reactor():
    made = Reactor()
    yield made
    made.close()


@pytest.fixture
def loop(reactor):
    made = ReactorLoop(reactor)
    yield made
    made.close()


def test_a_reactor_callback_resolves_a_future(reactor, loop):
    near, far = socket.socketpair()
    near.setblocking(False)
    future = loop.create_future()
    reactor.add(near.fileno(), READ | EDGE, lambda _: future.set_result(near.recv(10)))
    loop.call_later(0.01, far.send, b"hello")
    assert loop.run_until_complete(asyncio.wait_for(future, 60)) == b"hello"
    reactor.remove(near.fileno())
    near.close()
    far.close()


def test_it_may_be_closed_after_the_reactor():
    reactor = Reactor()
    loop = ReactorLoop(reactor)
    loop.run_until_complete(asyncio.sleep(0))
    reactor.close()
    loop.close()
    assert loop.is_closed()


def test_reactor_timers_run_while_asyncio_waits(reactor, loop):
    future = loop.create_future()
    reactor.call_later(0.01, lambda: future.set_result("timer"))
    assert loop.run_until_complete(asyncio.wait_for(future, 60)) == "timer"


def test_what_a_coroutine_left_is_flushed_before_the_next_wait(reactor, loop):
    flushed = []
    waiting = []
    reactor.at_round_end(lambda: flushed.append(list(waiting)))

    async def main():
        await asyncio.sleep(0)
        flushed.clear()
        waiting.append("packet")
        woken = loop.create_future()
        reactor.call_later(0.01, lambda: woken.set_result(None))
        await woken
        return flushed[0]

    assert loop.run_until_complete(main()) == ["packet"]


def test_what_a_flush_gives_the_loop_is_done_at_once(reactor, loop):
    future = loop.create_future()
    waiting = []

    def flush():
        if waiting:
            waiting.pop().set_result("flushed")

    reactor.at_round_end(flush)

    async def main():
        await asyncio.sleep(0)
        waiting.append(future)
        return await asyncio.wait_for(future, 60)

    assert loop.run_until_complete(main()) == "flushed"


def test_rounds_that_only_move_packets_do_not_wake_asyncio(reactor, loop, monkeypatch):
    """asyncio sees the third of three events, which is the first that concerns it."""
    near, far = socket.socketpair()
    rounds = []
    done = loop.create_future()

    def arrived(_):
        rounds.append(near.recv(1))
        if len(rounds) < 3:
            far.send(b"x")
        else:
            done.set_result(len(rounds))

    iterations = []
    select = ReactorSelector.select

    def counted(selector, timeout):
        iterations.append(timeout)
        return select(selector, timeout)

    reactor.add(near.fileno(), READ, arrived)
    far.send(b"x")

    async def count():
        monkeypatch.setattr(ReactorSelector, "select", counted)
        return await asyncio.wait_for(done, 60)

    assert loop.run_until_complete(count()) == 3
    assert len(iterations) <= 3
    near.close()
    far.close()


def test_a_timer_that_a_round_sets_is_waited_for(reactor, loop):
    near, far = socket.socketpair()
    done = loop.create_future()
    reactor.add(near.fileno(), READ | EDGE, lambda _: loop.call_later(0.01, done.set_result, "timer"))
    far.send(b"x")

    async def main():
        return await done  # without a timer of its own: the wait would be for ever

    assert loop.run_until_complete(asyncio.wait_for(main(), 60)) == "timer"
    near.close()
    far.close()


def test_asyncio_streams_servers_and_subprocesses_work(loop):
    async def serve(reader, writer):
        writer.write((await reader.readexactly(1 << 20))[::-1])
        await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        data = os.urandom(1 << 20)
        writer.write(data)
        await writer.drain()
        assert await reader.readexactly(1 << 20) == data[::-1]
        writer.close()
        server.close()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print('hi')", stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        return out, process.returncode

    asyncio.set_event_loop(loop)
    try:
        assert loop.run_until_complete(asyncio.wait_for(main(), 20)) == (b"hi\n", 0)
    finally:
        asyncio.set_event_loop(None)


def test_what_is_registered_is_found_by_its_socket_and_by_its_descriptor(reactor):
    """asyncio looks for it by what somebody gave it, from Python 3.13 on in `get_map`."""
    near, far = socket.socketpair()
    selector = ReactorSelector(reactor)
    key = selector.register(near, selectors.EVENT_READ)
    found = selector.get_map()
    assert (found.get(near), found[near.fileno()], found.get(far)) == (key, key, None)
    assert (list(found), len(found), near in found, far in found) == ([near.fileno()], 1, True, False)
    far.close()
    assert found.get(far) is None
    selector.unregister(near)
    assert found.get(near) is None
    near.close()
    selector.close()


def test_a_stopped_reader_is_not_called_again(loop):
    near, far = socket.socketpair()
    near.setblocking(False)
    calls = asyncio.Queue()

    async def main():
        loop.add_reader(near, lambda: calls.put_nowait(near.recv(1)))
        far.send(b"a")
        assert await calls.get() == b"a"
        loop.add_reader(near, lambda: calls.put_nowait(near.recv(1) + b"!"))
        far.send(b"b")
        assert await calls.get() == b"b!"
        assert loop.remove_reader(near)
        far.send(b"c")
        loop.add_reader(far, lambda: calls.put_nowait(far.recv(1)))  # it is read after what came before
        near.send(b"d")
        assert await calls.get() == b"d"
        loop.remove_reader(far)

    loop.run_until_complete(main())
    assert calls.empty()
    near.close()
    far.close()


def test_a_thread_can_wake_it(loop):
    async def main():
        return await loop.run_in_executor(None, lambda: 42)

    assert loop.run_until_complete(main()) == 42


def test_a_child_of_asyncio_has_no_thread_that_would_take_signals(loop):
    before = set(threading.enumerate())

    async def main():
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-IS", "-c", "input()", stdin=asyncio.subprocess.PIPE
        )
        others = set(threading.enumerate()) - before
        child.stdin.close()
        return others, await child.wait()

    assert loop.run_until_complete(asyncio.wait_for(main(), 30)) == (set(), 1)
