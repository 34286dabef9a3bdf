"""Log in to a hotel's network by program: python examples/hotspot_helper.py SSID URL, as root where a tunnel is up.

On the network SSID it fetches URL, which logs in, as often as the network asks for it. The kill switch stays on.
"""

import asyncio
import sys
from urllib.parse import urlsplit

from tunflow import (
    HotspotHelper,
    HotspotHelperCommand,
    HotspotHelperCommandType,
    HotspotHelperConfidence,
    HotspotHelperResponse,
    HotspotHelperResult,
)

SSID, URL = (*sys.argv[1:], "Hotel", "http://192.0.2.1/login")[:2]


async def handle(command: HotspotHelperCommand) -> HotspotHelperResponse:
    """Answer one command."""
    match command.command_type:
        case HotspotHelperCommandType.EVALUATE:
            assert command.network is not None
            if command.network.ssid == SSID:
                command.network.set_confidence(HotspotHelperConfidence.HIGH)
            response = command.create_response(HotspotHelperResult.SUCCESS)
            response.set_network(command.network)
            return response
        case HotspotHelperCommandType.AUTHENTICATE:
            is_in = await log_in(command)
            return command.create_response(HotspotHelperResult.SUCCESS if is_in else HotspotHelperResult.FAILURE)
        case HotspotHelperCommandType.MAINTAIN:
            return command.create_response(HotspotHelperResult.AUTHENTICATION_REQUIRED)
    return command.create_response(HotspotHelperResult.COMMAND_NOT_RECOGNIZED)


async def log_in(command: HotspotHelperCommand) -> bool:
    """Fetch the page; True if it answered with 200."""
    url = urlsplit(URL)
    reader, writer = await command.create_tcp_connection(
        url.hostname or "", url.port or (443 if url.scheme == "https" else 80), tls=url.scheme == "https"
    )
    writer.write(f"GET {url.path or '/'} HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.readline()
    writer.close()
    return b" 200 " in answer


if __name__ == "__main__":
    HotspotHelper.register("hotel", handle)
    asyncio.run(HotspotHelper.run(say=print))
