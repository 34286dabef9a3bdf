"""What the owner is told of an end that a reset brings. Found by two stacks over a bad wire."""

from __future__ import annotations

from tunflow.testing.packet_script import ScriptedClient
from tunflow.wire.tcp import ACK, FIN, RST


def test_a_stream_cut_short_by_a_reset_does_not_end_well():
    # RFC 9293 §3.10.7.4, second step: on RST, what the user has not received is flushed, and that is an error to the
    # user, not the end of the stream, even when a FIN came before it in the same batch.
    client = ScriptedClient()
    connection = client.establish()
    client.send_packets(
        [
            client.packet(ACK | FIN, seq=1, ack=1, payload=b"all"),
            client.packet(RST | ACK, seq=5, ack=1),
        ]
    )
    assert connection.closed
    assert connection.was_reset
    assert connection.take(100) == []
    assert not connection.at_eof
