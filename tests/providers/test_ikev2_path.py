"""IKEv2 where the network changes before the server has answered: charon's packets leave by the new one."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import pytest

from tunflow.hosting.session import HostServices, ProviderSession
from tunflow.loop.cause_log import CauseLog
from tunflow.loop.event_loop import ReactorLoop
from tunflow.loop.reactor import Reactor
from tunflow.providers import ikev2
from tunflow.providers.charon_program import Ends
from tunflow.providers.configuration import TunnelProviderProtocol
from tunflow.providers.network_path import NetworkPath, PathStatus
from tunflow.providers.stop_reason import ProviderStopReason

CONFIGURATION = TunnelProviderProtocol({"link": "ikev2://maria:secret@192.0.2.2?auth=psk"})


class Opened:
    """A session that nothing comes from."""

    is_closed = False

    async def read_datagrams(self) -> list[bytes]:
        await asyncio.Event().wait()
        return []

    def cancel(self) -> None:
        self.is_closed = True


class Silent:
    """A charon that never answers; the network changes while it starts."""

    session: Session

    def __init__(self, server: object) -> None:
        self._others: list[socket.socket] = []

    async def start(self) -> Ends:
        Silent.session.path_changed(NetworkPath(PathStatus.SATISFIED, "wlan0"))
        ours = []
        for _ in range(3):
            mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.append(mine)
            self._others.append(other)
        wan, packets, control = ours
        os.set_blocking(wan.fileno(), False)
        return Ends(wan.detach(), packets, control)

    async def stop(self) -> None:
        for each in self._others:
            each.close()


class Session(ProviderSession):
    """Writes down what is opened."""

    opened: list[Opened]

    async def open_udp(self, *_: object, **__: object) -> Any:
        self.opened.append(Opened())
        return self.opened[-1]


def test_the_network_changes_before_the_server_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ikev2, "CharonProgram", Silent)
    reactor = Reactor()

    async def main() -> None:
        services = HostServices(reactor, CauseLog(lambda _: None, lambda: 0.0), configuration=CONFIGURATION)
        session = Silent.session = Session(ikev2.IKEv2Provider(), services)
        session.opened = []
        starting = asyncio.ensure_future(session.start())
        async with asyncio.timeout(30):
            while len(session.opened) < 4:
                await asyncio.sleep(0)
            while not session.opened[1].is_closed:
                await asyncio.sleep(0)
        assert [each.is_closed for each in session.opened] == [True, True, False, False]
        assert not starting.done()
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        async with asyncio.timeout(30):
            while not all(each.is_closed for each in session.opened):
                await asyncio.sleep(0)
        await session.stop(ProviderStopReason.NONE)

    with asyncio.Runner(loop_factory=lambda: ReactorLoop(reactor)) as runner:
        runner.run(main())
    reactor.close()
