"""`quic_hello.py ADDRESS NAME`: send a QUIC client's first datagrams, which do not all fit into one."""

from __future__ import annotations

import socket
import sys
import time

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

address, name = sys.argv[1:]
protocols = [f"protocol-{number}" + "x" * 60 for number in range(40)]
client = QuicConnection(configuration=QuicConfiguration(is_client=True, server_name=name, alpn_protocols=protocols))
client.connect((address, 443), now=time.monotonic())
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    for datagram, _ in client.datagrams_to_send(now=time.monotonic()):
        sock.sendto(datagram, (address, 443))
    time.sleep(0.5)  # the tunnel ends with nobody waiting for an answer
