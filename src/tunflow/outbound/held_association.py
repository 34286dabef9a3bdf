"""The streams that an association for datagrams hangs on (SOCKS5's UDP ASSOCIATE)."""

from __future__ import annotations

from collections.abc import Callable

from tunflow.errors import BadPacket
from tunflow.loop.reactor import Reactor
from tunflow.loop.sockets import SocketOptions
from tunflow.outbound.client import StreamClient
from tunflow.protocols.contract import Association, StandingWay


class HeldAssociation:
    """Asks at once. `agreed` is called once with the way, when all servers agreed; `lost` with the reason, when one of
    them refused or ended it, or when `agreed` raised BadPacket or OSError. Close it then."""

    def __init__(
        self,
        reactor: Reactor,
        association: Association,
        agreed: Callable[[StandingWay], None],
        lost: Callable[[str], None],
        sockets: SocketOptions,
    ) -> None:
        self._association = association
        self._agreed = agreed
        self._lost = lost
        self._streams = [
            StreamClient(reactor, control, lambda _: None, self._ended, sockets, opened=self._opened)
            for control in association.controls
        ]

    def __len__(self) -> int:
        """How many descriptors it holds."""
        return len(self._streams)

    def close(self) -> None:
        """Give them back."""
        for stream in self._streams:
            stream.close()

    def _opened(self) -> None:
        """One more server agreed; the last of them opens the way."""
        if not all(stream.established for stream in self._streams):
            return
        first = self._streams[0].address
        assert first is not None
        try:
            self._agreed(self._association.route_after(first))
        except (BadPacket, OSError) as error:
            self._lost(str(error))

    def _ended(self, why: str, _established: bool) -> None:
        self._lost(why)
