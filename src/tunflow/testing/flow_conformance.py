"""What every TCP flow must do: the rules of `providers.flows`, checked on any implementation.

    @pytest.mark.parametrize("check", CHECKS)
    def test_my_flow(check):
        asyncio.run(check(make))

`make()` gives a flow that is not open yet, and the program's end of it, which is there once the flow is open.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable

from tunflow.providers import AppProxyFlowError, AppProxyFlowErrorCode, TCPConnection, TCPFlow

Make = Callable[[], Awaitable[tuple[asyncio.Task[TCPConnection], TCPFlow]]]
Check = Callable[[Make], Awaitable[None]]

LARGE = bytes(range(256)) * 40_000
"""More than any flow may hold on the way: ten megabytes."""

_PATIENCE = 5.0


async def nothing_before_open(make: Make) -> None:
    """Rule 1: a flow is opened first, and once."""
    connecting, flow = await make()
    await _fails(flow.read(), AppProxyFlowErrorCode.NOT_CONNECTED)
    await _fails(flow.write(b"x"), AppProxyFlowErrorCode.NOT_CONNECTED)
    assert not connecting.done(), "the program was let in before the flow was open"
    await flow.open()
    await _fails(flow.open(), AppProxyFlowErrorCode.INVALID_ARGUMENT)
    (await connecting).cancel()


async def refused_before_open(make: Make) -> None:
    """Rule 1: closed with an error before it is open, it fails as the network would have it."""
    connecting, flow = await make()
    flow.close_write(AppProxyFlowError(AppProxyFlowErrorCode.REFUSED))
    try:
        await asyncio.wait_for(connecting, _PATIENCE)
    except ConnectionRefusedError:
        return
    raise AssertionError("the program was connected to a flow that was refused")


async def one_read_at_a_time(make: Make) -> None:
    """Rule 2; and a read that waits ends when reading is closed."""
    program, flow = await _open(make)
    reading = asyncio.ensure_future(flow.read())
    await asyncio.sleep(0)
    await _fails(flow.read(), AppProxyFlowErrorCode.READ_ALREADY_PENDING)
    await program.write(b"hello")
    assert await reading == b"hello"
    reading = asyncio.ensure_future(flow.read())
    await asyncio.sleep(0)
    flow.close_read()
    await _fails(reading, AppProxyFlowErrorCode.ABORTED)
    program.cancel()


async def a_slow_program_slows_its_provider(make: Make) -> None:
    """Rule 3."""
    program, flow = await _open(make)
    writing = asyncio.ensure_future(flow.write(LARGE))
    await _settle()
    assert not writing.done(), "more was taken than a program that does not read has room for"
    assert await program.read_exactly(len(LARGE)) == LARGE
    await writing
    program.cancel()


async def a_slow_provider_slows_its_program(make: Make) -> None:
    """Rule 3."""
    program, flow = await _open(make)
    writing = asyncio.ensure_future(program.write(LARGE))
    await _settle()
    assert not writing.done(), "data was taken from the program before it was read"
    got = bytearray()
    while len(got) < len(LARGE):
        data = await flow.read()
        assert data, "the stream ended early"
        got += data
    assert got == LARGE
    await writing
    program.cancel()


async def directions_close_apart(make: Make) -> None:
    """Rule 4: the program's end first."""
    program, flow = await _open(make)
    await program.write(b"question")
    program.write_close()
    assert await _read_all(flow) == b"question"
    assert await flow.read() == b"", "the end of the stream stays its end"
    await flow.write(b"answer")
    flow.close_write()
    assert await program.read_exactly(6) == b"answer"
    assert await program.read() == b""
    await _fails(flow.write(b"x"), AppProxyFlowErrorCode.NOT_CONNECTED)
    flow.close_read()


async def the_provider_may_close_first(make: Make) -> None:
    """Rule 4: and still read."""
    program, flow = await _open(make)
    await flow.write(b"greeting")
    flow.close_write()
    assert await program.read_exactly(8) == b"greeting"
    assert await program.read() == b""
    await program.write(b"thanks")
    program.write_close()
    assert await _read_all(flow) == b"thanks"
    flow.close_read()


async def a_forgotten_flow_is_aborted(make: Make) -> None:
    """Rule 5."""
    program, flow = await _open(make)
    del flow
    gc.collect()
    end = asyncio.get_running_loop().time() + _PATIENCE
    is_connected = True
    while is_connected and asyncio.get_running_loop().time() < end:
        try:
            await program.write(bytes(1000))
            await asyncio.sleep(0)
        except OSError:
            is_connected = False
    assert not is_connected, "the program is still connected to a flow that nobody serves"


CHECKS: tuple[Check, ...] = (
    nothing_before_open,
    refused_before_open,
    one_read_at_a_time,
    a_slow_program_slows_its_provider,
    a_slow_provider_slows_its_program,
    directions_close_apart,
    the_provider_may_close_first,
    a_forgotten_flow_is_aborted,
)
"""All of them."""


async def _open(make: Make) -> tuple[TCPConnection, TCPFlow]:
    connecting, flow = await make()
    await flow.open()
    return await connecting, flow


async def _read_all(flow: TCPFlow) -> bytes:
    got = b""
    while data := await flow.read():
        got += data
    return got


async def _fails(operation: Awaitable[object], code: AppProxyFlowErrorCode) -> None:
    found: AppProxyFlowErrorCode | None = None
    try:
        await operation
    except AppProxyFlowError as error:
        found = error.code
    assert found is code, f"expected to fail with {code.name}, not {found.name if found else 'to succeed'}"


async def _settle() -> None:
    """Let everything happen that does not wait for somebody."""
    for _ in range(200):
        await asyncio.sleep(0)
