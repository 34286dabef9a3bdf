"""App proxies: what becomes of flows, in memory."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest

from tunflow.endpoint import endpoint
from tunflow.outbound.direct import DirectOutbound
from tunflow.protocols.block.outbound import BlockOutbound
from tunflow.providers import (
    AppProxyFlowError,
    AppProxyFlowErrorCode,
    AppProxyProvider,
    AppRule,
    DNSProxyProvider,
    NetworkRule,
    TCPFlow,
    TransparentProxyNetworkSettings,
    TransparentProxyProvider,
    UDPFlow,
)
from tunflow.stack.budget import MemoryBudget
from tunflow.testing.flow_conformance import CHECKS
from tunflow.testing.provider_rig import play

TARGET = endpoint("192.0.2.1", 80)
TARGET6 = endpoint("2001:db8::1", 80)


class Keep(AppProxyProvider):
    """Keeps flows for the test."""

    def __init__(self):
        self.flows = asyncio.Queue()

    def handle_new_flow(self, flow):
        self.flows.put_nowait(flow)
        return True


async def write_for_ever(stream):
    while True:
        await stream.write(bytes(1000))


async def both(rig, target=TARGET):
    """A program's connection and its flow, open."""
    connecting = asyncio.ensure_future(rig.connect(target))
    flow = await rig.provider.flows.get()
    await flow.open()
    return await connecting, flow


@pytest.mark.parametrize("target", [TARGET, TARGET6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_flows_keep_the_rules(check, target):
    async def scene(rig):
        async def make():
            connecting = asyncio.ensure_future(rig.connect(target))
            flow = await rig.provider.flows.get()
            assert isinstance(flow, TCPFlow)
            assert flow.remote_endpoint == target
            return connecting, flow

        await check(make)

    play(Keep(), scene)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (AppProxyFlowErrorCode.REFUSED, ConnectionRefusedError),
        (AppProxyFlowErrorCode.HOST_UNREACHABLE, OSError),
    ],
)
def test_a_flow_closed_before_it_is_open_is_refused(code, error):
    async def scene(rig):
        connecting = asyncio.ensure_future(rig.connect(TARGET))
        flow = await rig.provider.flows.get()
        flow.close_write(AppProxyFlowError(code))
        if code is AppProxyFlowErrorCode.REFUSED:
            with pytest.raises(error):
                await connecting
        else:
            connecting.cancel()

    play(Keep(), scene)


def test_a_flow_closed_with_an_error_is_reset():
    async def scene(rig):
        stream, flow = await both(rig)
        flow.close_write(AppProxyFlowError(AppProxyFlowErrorCode.PEER_RESET))
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            await write_for_ever(stream)

    play(Keep(), scene)


def test_a_reset_by_the_program_ends_read_and_write():
    async def scene(rig):
        stream, flow = await both(rig)
        reading, writing = asyncio.ensure_future(flow.read()), asyncio.ensure_future(flow.write(bytes(10_000_000)))
        await asyncio.sleep(0)  # both begin
        rig.reset_programs()
        for operation in (reading, writing):
            with pytest.raises(AppProxyFlowError) as caught:
                await operation
            assert caught.value.code is AppProxyFlowErrorCode.PEER_RESET
        assert stream is not None

    play(Keep(), scene)


def test_what_a_forgotten_flow_had_not_read_is_free_when_both_sides_had_closed():
    async def scene(rig):
        stack = rig.driver.context.stack
        stream, flow = await both(rig)
        flow.close_write()
        await stream.write(bytes(1000))
        stream.write_close()
        while stack.connections:
            await asyncio.sleep(0)
        assert stack.budget.used == 1000
        del flow
        while stack.budget.used:
            await asyncio.sleep(0)

    play(Keep(), scene)


def test_a_write_goes_on_once_others_give_memory_back():
    async def scene(rig):
        stack = rig.driver.context.stack
        stack.budget = MemoryBudget(1 << 20)
        stream, flow = await both(rig)
        stack.budget.used += 1 << 20
        writing = asyncio.ensure_future(flow.write(b"x" * 1000))
        await asyncio.sleep(0)
        assert not writing.done()
        stack.budget.used -= 1 << 20
        await writing
        assert await stream.read() == b"x" * 1000

    play(Keep(), scene)


class Carrier(AppProxyProvider):
    """Gives everything away, to where the test says."""

    target = None

    async def handle_new_flow(self, flow):
        if isinstance(flow, TCPFlow):
            await flow.carry(target=self.target)
        else:
            await flow.carry()
        return True


async def echo_server():
    async def serve(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, endpoint(*server.sockets[0].getsockname())


def test_carried_flows_go_on_without_the_provider():
    async def scene(rig):
        server, rig.provider.target = await echo_server()
        stream = await rig.connect(TARGET)
        await stream.write(b"hello")
        stream.write_close()
        assert await stream.read_exactly(5) == b"hello"
        assert await stream.read() == b""
        server.close()

    assert play(Carrier(), scene).lines == []


def test_a_carried_flow_fails_as_the_far_side_does():
    async def scene(rig):
        server, rig.provider.target = await echo_server()
        server.close()
        await server.wait_closed()
        with pytest.raises(ConnectionRefusedError):
            await rig.connect(TARGET)

    play(Carrier(), scene)


class Splicer(AppProxyProvider):
    """Connects by itself and moves the bytes."""

    target = None

    def handle_new_flow(self, flow):
        self.create_task(self.serve(flow))
        return True

    async def serve(self, flow):
        far = await self.create_tcp_connection(self.target)
        await flow.open()
        await flow.splice(far)


def test_spliced_bytes_and_half_close():
    async def scene(rig):
        server, rig.provider.target = await echo_server()
        stream = await rig.connect(TARGET)
        data = bytes(range(256)) * 8000
        writing = asyncio.ensure_future(stream.write(data))
        assert await stream.read_exactly(len(data)) == data
        await writing
        stream.write_close()
        assert await stream.read() == b""
        server.close()

    assert play(Splicer(), scene).lines == []


def test_a_flow_whose_task_fails_is_reset_and_the_failure_told():
    async def scene(rig):
        server, rig.provider.target = await echo_server()
        server.close()
        await server.wait_closed()
        with pytest.raises(ConnectionRefusedError):
            await rig.connect(TARGET)

    (line,) = play(Splicer(), scene).lines
    assert "ConnectionRefusedError" in line
    assert "test_provider_flows.py:" in line


class Declines(AppProxyProvider):
    def handle_new_flow(self, flow):
        return False


class DeclinesLater(AppProxyProvider):
    async def handle_new_flow(self, flow):
        await asyncio.sleep(0)
        return False


class Raises(AppProxyProvider):
    def handle_new_flow(self, flow):
        raise KeyError("why")


class RaisesLater(AppProxyProvider):
    async def handle_new_flow(self, flow):
        await asyncio.sleep(0)
        raise KeyError("why")


class AnswersNothing(AppProxyProvider):
    def handle_new_flow(self, flow):
        pass


@pytest.mark.parametrize("kind", [Declines, DeclinesLater, Raises, RaisesLater, AnswersNothing])
def test_what_is_not_taken_is_refused_and_others_are_served(kind):
    async def scene(rig):
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                await rig.connect(TARGET)
        assert rig.session.status.name == "CONNECTED"

    lines = play(kind(), scene).lines
    if kind in (Declines, DeclinesLater):
        assert lines == []
    else:
        assert kind.__name__ in lines[0]
        assert "handle_new_flow failed" in lines[0]
        assert len(lines) == 1  # however often it happens


class Transparent(TransparentProxyProvider):
    """Asked about TEST-NET-1 but for one host, and declines."""

    def __init__(self):
        self.asked = []

    async def start_proxy(self, options):
        await self.set_tunnel_network_settings(
            TransparentProxyNetworkSettings(
                tunnel_remote_address="x",
                included_network_rules=(NetworkRule("192.0.2.0/24"),),
                excluded_network_rules=(NetworkRule("192.0.2.9/32"),),
            )
        )

    def handle_new_flow(self, flow):
        self.asked.append(flow.remote_endpoint.host_text)
        return False


def test_a_transparent_proxy_is_asked_only_about_what_it_wants():
    class Nowhere(DirectOutbound):
        """A way out that notes what is sent there."""

        went: ClassVar[list[str]] = []

        def stream(self, target, flow=None):
            self.went.append(target.host_text)
            raise ConnectionRefusedError(111, "refused")

    async def scene(rig):
        for host in ("192.0.2.1", "192.0.2.9", "198.51.100.1"):
            with pytest.raises(ConnectionRefusedError):
                await rig.connect(endpoint(host, 80))

    straight = Nowhere()
    rig = play(Transparent(), scene, straight=straight)
    assert rig.provider.asked == ["192.0.2.1"]
    assert straight.went == ["192.0.2.1", "192.0.2.9", "198.51.100.1"]  # declined goes straight out, as Apple has it


class To(DirectOutbound):
    """A way out that leads to one place, whatever is asked for."""

    def __init__(self, place):
        self.place = place

    def stream(self, target, flow=None):
        return super().stream(self.place)


class Late(Transparent):
    async def handle_new_flow(self, flow):
        return False


@pytest.mark.parametrize("kind", [Transparent, Late])
def test_what_a_transparent_proxy_declines_arrives(kind):
    async def scene(rig):
        server, straight.place = await echo_server()
        stream = await rig.connect(TARGET)
        await stream.write(b"hello")
        stream.write_close()
        assert await stream.read_exactly(5) == b"hello"
        assert await stream.read() == b""
        server.close()

    straight = To(None)
    play(kind(), scene, straight=straight)


def test_app_rules_keep_other_programs_out():
    async def scene(rig):
        rig.driver.admission.find_process = lambda *_: None
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(rig.connect(endpoint("198.51.100.1", 80)), 0.2)
        assert rig.provider.flows.empty()

    play(Keep(), scene, app_rules=[AppRule("/usr/bin/curl")], straight=BlockOutbound())


def test_udp_both_ways():
    async def scene(rig):
        udp = await rig.open_udp(TARGET)
        await udp.write_datagrams([b"one", b"two"])
        flow = await rig.provider.flows.get()
        assert isinstance(flow, UDPFlow)
        await flow.open()
        got = await flow.read_datagrams()
        assert got == [(b"one", TARGET), (b"two", TARGET)]
        await flow.write_datagrams([(b"three", TARGET), (b"fours", TARGET), (b"", TARGET)])
        answers = []
        while len(answers) < 3:
            answers += await udp.read_datagrams()
        assert answers == [b"three", b"fours", b""]
        with pytest.raises(AppProxyFlowError) as caught:
            await flow.write_datagrams([(b"x", TARGET6)])
        assert caught.value.code is AppProxyFlowErrorCode.INVALID_ARGUMENT
        with pytest.raises(AppProxyFlowError) as caught:
            await flow.write_datagrams([(bytes(65508), TARGET)])
        assert caught.value.code is AppProxyFlowErrorCode.DATAGRAM_TOO_LARGE
        flow.close_read()
        flow.close_write()
        await udp.write_datagrams([b"again"])
        assert await rig.provider.flows.get() is not flow  # the socket's next datagram is a new flow

    play(Keep(), scene)


def test_datagrams_that_nobody_reads_are_bounded():
    async def scene(rig):
        udp = await rig.open_udp(TARGET)
        await udp.write_datagrams([b"first"])
        flow = await rig.provider.flows.get()
        await flow.open()
        for _ in range(3000):
            await udp.write_datagrams([bytes(1000)])
            await asyncio.sleep(0)
        assert rig.driver.context.statistics.udp_dropped > 0
        assert sum(len(data) for data, _ in await flow.read_datagrams()) <= 1 << 20

    play(Keep(), scene)


class Names(DNSProxyProvider):
    def __init__(self):
        self.flows = asyncio.Queue()

    def handle_new_flow(self, flow):
        self.flows.put_nowait(flow)
        return True


def test_a_dns_proxy_gets_port_53_and_nothing_else():
    async def scene(rig):
        udp = await rig.open_udp(endpoint("192.0.2.1", 53))
        await udp.write_datagrams([b"query"])
        flow = await rig.provider.flows.get()
        await flow.open()
        assert (await flow.read_datagrams())[0][0] == b"query"
        other = await rig.open_udp(endpoint("192.0.2.1", 5353))
        await other.write_datagrams([b"x"])
        last = await rig.open_udp(endpoint("192.0.2.2", 53))
        await last.write_datagrams([b"another"])
        await (await rig.provider.flows.get()).open()
        assert rig.provider.flows.empty()

    play(Names(), scene, straight=BlockOutbound())
