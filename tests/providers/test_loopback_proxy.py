"""The port by which a provider's program reaches its server: for that program only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tunflow.endpoint import Endpoint
from tunflow.providers.connections import TCPConnection
from tunflow.providers.loopback_proxy import LoopbackProxy
from tunflow.urls import parse_url

CONNECT = b"\x05\x01\x00\x03\x0bvpn.example\x01\xbb"


class Echo(TCPConnection):
    """Sends back what it is given."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[bytes] = asyncio.Queue()
        self.is_cancelled = False

    local_address = remote_address = Endpoint(bytes(4), 1)  # type: ignore[assignment]

    async def read(self, most: int = 65536) -> bytes:
        return await self.waiting.get()

    async def read_exactly(self, size: int) -> bytes:
        raise AssertionError(f"nobody reads {size} bytes here")

    async def write(self, *pieces: object) -> None:
        for piece in pieces:
            self.waiting.put_nowait(bytes(piece))  # type: ignore[arg-type]

    def write_close(self) -> None: ...

    def cancel(self) -> None:
        self.is_cancelled = True


class Client:
    def __init__(self, proxy: LoopbackProxy) -> None:
        self.url = parse_url(proxy.url)

    async def sign_in(self, user: str | None = None, method: bytes = b"\x05\x01\x02") -> bytes:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.url.port)
        name, password = (part.encode() for part in (self.url.user_information or ":").split(":"))
        name = user.encode() if user else name
        self.writer.write(method)
        if (await self.reader.readexactly(2))[1] == 0xFF:
            return b"\xff"
        self.writer.write(bytes((1, len(name))) + name + bytes((len(password),)) + password)
        return await self.reader.readexactly(2)


def run(main: Callable[[LoopbackProxy, list[Endpoint], Echo], Awaitable[None]], error: OSError | None = None) -> None:
    async def whole() -> None:
        asked: list[Endpoint] = []
        echo = Echo()

        async def connect(target: Endpoint) -> TCPConnection:
            asked.append(target)
            if error is not None:
                raise error
            return echo

        proxy = LoopbackProxy(connect)
        await proxy.start()
        try:
            await asyncio.wait_for(main(proxy, asked, echo), 20)
        finally:
            proxy.close()

    asyncio.run(whole())


def test_who_knows_the_words_is_connected_by_name() -> None:
    async def main(proxy: LoopbackProxy, asked: list[Endpoint], echo: Echo) -> None:
        client = Client(proxy)
        assert await client.sign_in() == b"\x01\x00"
        client.writer.write(CONNECT + b"hello")
        assert (await client.reader.readexactly(10))[1] == 0
        assert await client.reader.readexactly(5) == b"hello"
        assert asked == [Endpoint("vpn.example", 443)]
        client.writer.close()
        while not echo.is_cancelled:
            await asyncio.sleep(0)

    run(main)


def test_others_are_not() -> None:
    async def main(proxy: LoopbackProxy, asked: list[Endpoint], _: Echo) -> None:
        client = Client(proxy)
        assert await client.sign_in(user="somebody") == b"\x01\x01"
        assert await client.reader.read() == b""
        assert await client.sign_in(method=b"\x05\x01\x00") == b"\xff"
        assert await client.reader.read() == b""
        assert not asked

    run(main)


def test_a_server_that_is_not_reached() -> None:
    async def main(proxy: LoopbackProxy, _: list[Endpoint], __: Echo) -> None:
        client = Client(proxy)
        await client.sign_in()
        client.writer.write(CONNECT)
        assert (await client.reader.readexactly(10))[1] == 4
        assert await client.reader.read() == b""

    run(main, ConnectionRefusedError())
