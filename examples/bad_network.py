"""Makes the network slow and lossy for one program, to see how it copes.

    tunflow run --provider examples/bad_network.py:BadNetwork --config latency=0.2 --config loss=0.05 -- CMD

Datagrams come late, and some not at all. A TCP stream comes late as well; what would have been lost of it comes later
still, as it would after a retransmission.
"""

import asyncio
import random

from tunflow import AppProxyProvider, TCPFlow, flow_error

RETRANSMISSION = 0.2
"""Seconds: the least that Linux waits before it sends a segment again."""


class BadNetwork(AppProxyProvider):
    """Carries every flow by itself, with delays."""

    async def start_proxy(self, options):
        configuration = self.protocol_configuration.provider_configuration
        self.latency = float(configuration.get("latency", "0.1"))
        self.loss = float(configuration.get("loss", "0.01"))

    def handle_new_flow(self, flow):
        self.create_task(self.serve(flow) if isinstance(flow, TCPFlow) else self.serve_datagrams(flow))
        return True

    async def serve(self, flow):
        await asyncio.sleep(2 * self.latency)  # SYN and SYN,ACK
        try:
            far = await self.create_tcp_connection(flow.remote_endpoint)
        except OSError as error:
            flow.close_write(flow_error(error))
            return
        await flow.open()

        async def up():
            async for data in self.late(flow.read):
                await far.write(data)
            far.write_close()

        async def down():
            async for data in self.late(far.read):
                await flow.write(data)
            flow.close_write()

        try:
            await asyncio.gather(up(), down())
        except OSError as error:
            flow.close_write(flow_error(error))
        finally:
            flow.close_read()
            far.cancel()

    async def late(self, read):
        """What `read` gives, in order, each piece `latency` after it came; at most 256 pieces are on the way."""
        clock = asyncio.get_running_loop().time
        way = asyncio.Queue(256)

        async def depart():
            while data := await read():
                lost = RETRANSMISSION if random.random() < self.loss else 0
                await way.put((clock() + self.latency + lost, data))
            await way.put((clock() + self.latency, b""))

        departing = self.create_task(depart())
        while True:
            due, data = await way.get()
            await asyncio.sleep(due - clock())
            if not data:
                break
            yield data
        await departing

    async def serve_datagrams(self, flow):
        await flow.open()
        sessions = {}
        while datagrams := await flow.read_datagrams():
            for data, target in datagrams:
                if target not in sessions:
                    sessions[target] = await self.create_udp_session(target)
                    self.create_task(self.answer(flow, sessions[target], target))
                self.pass_on(sessions[target].write_datagrams([data]))
        for session in sessions.values():
            session.cancel()

    async def answer(self, flow, session, target):
        try:
            while datagrams := await session.read_datagrams():
                self.pass_on(flow.write_datagrams([(data, target) for data in datagrams]))
        except OSError:
            session.cancel()

    def pass_on(self, writing):
        """Do it after the latency, or not at all."""
        if random.random() < self.loss:
            writing.close()
            return

        async def later():
            await asyncio.sleep(self.latency)
            await writing

        self.create_task(later())
