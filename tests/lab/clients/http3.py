"""HTTP/3 with aioquic: `http3.py serve ADDRESS CERTIFICATE KEY` answers every request with 1,024 bytes, and
`http3.py get ADDRESS NAME...` asks for one of each name, in connections of their own on the same port, and prints the
status and size, or "none". `!NAME` for one that should get none, of which nothing more is expected after 2 s.
`ADDRESS@PORT` for another port than 443."""

import asyncio
import contextlib
import socket
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated

PATIENCE, LITTLE = 30.0, 2.0


class Server(QuicConnectionProtocol):
    http = None

    def next_stream(self):
        return self._quic.get_next_available_stream_id()

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
        for each in self.http.handle_event(event) if self.http else ():
            if isinstance(each, HeadersReceived):
                self.http.send_headers(each.stream_id, [(b":status", b"200"), (b"content-length", b"1024")])
                self.http.send_data(each.stream_id, bytes(1024), end_stream=True)
                self.transmit()


class Client(QuicConnectionProtocol):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.http = H3Connection(self._quic)
        self.done = asyncio.get_running_loop().create_future()
        self.status, self.size = "?", 0

    def next_stream(self):
        return self._quic.get_next_available_stream_id()

    def quic_event_received(self, event):
        for each in self.http.handle_event(event):
            if isinstance(each, HeadersReceived):
                self.status = dict(each.headers)[b":status"].decode()
            elif isinstance(each, DataReceived):
                self.size += len(each.data)
                if each.stream_ended:
                    self.done.set_result(None)


async def main(action, where, *rest):
    address, _, digits = where.partition("@")
    far_port = int(digits or 443)
    if action == "serve":
        configuration = QuicConfiguration(is_client=False, alpn_protocols=["h3"])
        configuration.load_cert_chain(*rest)
        await serve(address, far_port, configuration=configuration, create_protocol=Server)
        print("listening", flush=True)
        await asyncio.Event().wait()
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as free:
        free.bind(("::", 0))
        port = free.getsockname()[1]
    for name in rest:
        await get(address, far_port, name.removeprefix("!"), port, LITTLE if name.startswith("!") else PATIENCE)


async def get(address, far_port, name, port, patience):
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=["h3"], server_name=name, verify_mode=ssl.CERT_NONE
    )
    options = {"configuration": configuration, "create_protocol": Client, "local_port": port}
    with contextlib.suppress(TimeoutError, OSError, ConnectionError):
        async with asyncio.timeout(patience):
            async with connect(address, far_port, **options) as client:
                stream = client.next_stream()
                head = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", name.encode()), (b":path", b"/")]
                client.http.send_headers(stream, head, end_stream=True)
                client.transmit()
                await client.done
                print(client.status, client.size, flush=True)
                return
    print("none", flush=True)


asyncio.run(main(*sys.argv[1:]))
