"""How a codec is driven on a connected socket until the servers agree to carry the flow (rules: `protocols.codec`).

Flows and the streams of tunflow's own do this, each with its own way to send and to receive.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from tunflow.endpoint import Buffer
from tunflow.protocols.codec import StreamCodec
from tunflow.protocols.sealed_reader import SealedReader

ANSWER_SIZE = 16 * 1024
"""Bytes read at a time of what servers answer."""

FIRST_PAYLOAD_DELAY = 0.01
"""Seconds that a codec's first bytes wait for the client's: an address that leaves alone in a packet is easy to spot
(SIP004 asks for one write), and costs a wake-up of the server. Where the server speaks first it goes without."""


def agree(
    codec: StreamCodec,
    reader: SealedReader[Buffer],
    send: Callable[[list[Buffer]], object],
    receive: Callable[[int], bytes],
    is_readable: bool,
) -> list[Buffer]:
    """Say what the servers must hear and hear what they say, as far as it goes now; the flow's bytes that came already.

    `reader` opens by the codec. `send` takes all of what it is given, and keeps what the socket does not take;
    `receive` is the socket's `recv`. Call again while the codec is not established and the socket is readable. Raises
    BadPacket (ProxyRefused), or OSError when the connection has ended.
    """
    flow: list[Buffer] = []
    try:
        send(codec.seal(()))
        while is_readable and not codec.established:
            data = receive(ANSWER_SIZE)
            if not data:
                raise ConnectionResetError(errno.ECONNRESET, "closed by the proxy")
            flow += reader.read_untrusted(data)
            send(codec.seal(()))
    except BlockingIOError:
        pass
    return flow
