"""A driver on one end of a memory pair, and a scripted client on the other."""

from __future__ import annotations

import time

from tunflow.dataplane.admission import Admission
from tunflow.dataplane.context import FlowContext
from tunflow.dataplane.driver import Driver
from tunflow.endpoint import endpoint
from tunflow.host.memory import memory_pair
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.reactor import Reactor
from tunflow.outbound.direct import DirectOutbound
from tunflow.testing.packet_script import ScriptedClient


class LoopbackDialer(DirectOutbound):
    """Takes every target for the same port of 127.0.0.1, which no packet may name."""

    def stream(self, target, flow=None):
        return super().stream(endpoint("127.0.0.1", target.port))


class DriverRig:
    """What is said in the log is in `lines`; `options` are the context's. `policy` and `names` may be functions of the
    context that make one."""

    def __init__(self, dialer, target_port, policy=None, names=None, find_process=None, **options):
        self.reactor = Reactor()
        device, self.card = memory_pair(vnet=False)
        self.lines = []
        log = CauseLog(self.lines.append, lambda: self.reactor.now)
        self.context = FlowContext.on(self.reactor, device, log, **options)
        self.stack, self.slots = self.context.stack, self.context.slots
        self.policy = policy(self.context) if callable(policy) else policy
        names = names(self.context) if callable(names) else names
        self.admission = Admission(self.context, dialer, policy=self.policy, names=names, find_process=find_process)
        self.driver = Driver(self.context, self.admission)
        self.client = ScriptedClient(self.stack, target_port=target_port)

    def send(self, flags, **fields):
        self.card.write([[bytes(10), self.client.packet(flags, **fields)]])

    def answers(self):
        """The segments from the stack that wait."""
        return [self.client.parse(packet) for packet in self.card.read(100)]

    def run_once(self):
        self.reactor.run_once(0.05)

    def until(self, condition, seconds=60.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "did not happen"
            self.run_once()

    def close(self):
        self.driver.close()
        self.reactor.close()
