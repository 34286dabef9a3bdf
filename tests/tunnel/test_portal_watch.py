"""A network's login page is found by what the network says itself (RFC 8908) or by who answers, on loopback."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tunflow.host.network.uplinks import Uplink, Uplinks
from tunflow.loop.sockets import SocketOptions
from tunflow.tunnel.portal_signs import PortalSign
from tunflow.tunnel.portal_watch import PAUSE, PortalWatch

PATH = Uplinks((Uplink("lo", 1, bytes([127, 0, 0, 1]), None),))
Pages = dict[str, tuple[int, Mapping[str, str], str]]
"""Status, headers and body by path."""


class Network:
    """A web server with its pages, which hangs up only when the other does."""

    def __init__(self, pages: Pages) -> None:
        self.pages = pages
        self.asked: list[str] = []
        self.cookies: list[str] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split()[1]
            self.asked.append(path)
            self.cookies += [line.partition(": ")[2] for line in head.split("\r\n") if line.startswith("Cookie")]
            status, headers, body = self.pages.get(path, (404, {}, ""))
            lines = [f"HTTP/1.1 {status} x", f"Content-Length: {len(body)}"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            writer.write("\r\n".join([*lines, "", body]).encode())
            await reader.read()
        writer.close()


@asynccontextmanager
async def served(network: Network, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    server = await asyncio.start_server(network.answer, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's certificate for 127.0.0.1, and the file with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "portal")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = (
        builder.serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    )
    where = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = builder.add_extension(where, critical=False).sign(key, hashes.SHA256())
    file, keys = tmp_path / "portal.pem", tmp_path / "portal.key"
    file.write_bytes(certificate.public_bytes(Encoding.PEM))
    keys.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, keys)
    return context, file


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        self.now += PAUSE  # each look is long after the last
        return self.now


def watch(probes: list[str], api: str | None = None) -> PortalWatch:
    return PortalWatch(probes, SocketOptions(), tuple, Clock(), lambda _name, _index: api)


def said(captive: bool, **more: str) -> tuple[int, Mapping[str, str], str]:
    return 200, {"Content-Type": "application/captive+json"}, json.dumps({"captive": captive, **more})


def test_the_networks_own_word_by_https(tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the page is, with its redirects and cookies, and that it is out of the way."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[1]))

    async def main() -> None:
        pages: Pages = {"/terms": (200, {}, "log in"), "/probe": (302, {"Location": "/terms"}, "")}
        network, api = Network(pages), Network({})
        async with served(network) as web, served(api, tls[0]) as secure:
            network.pages["/start"] = (302, {"Location": "/terms", "Set-Cookie": "guest=1; Path=/"}, "")
            api.pages["/api"] = said(True, **{"user-portal-url": f"{web}/start"})
            watching = watch([f"{web}/probe"], f"{secure}/api")
            assert await watching.look(PATH, lambda: None)
            assert watching.portal is not None
            assert (watching.portal.url, watching.portal.sign) == (f"{web}/terms", PortalSign.OPTION)
            assert network.cookies == ["guest=1"]
            assert watching.way is not None
            assert int(web.rpartition(":")[2]) in watching.way[1]
            assert "/probe" not in network.asked
            api.pages["/api"], network.pages["/probe"] = said(False), (204, {}, "")
            assert not await watching.look(PATH, lambda: None)
            assert watching.way is None

    asyncio.run(main())


def test_a_word_that_cannot_be_trusted_or_read_does_not_count(tls: tuple[ssl.SSLContext, Path]) -> None:
    async def main() -> None:
        network = Network({"/terms": (200, {}, "log in"), "/probe": (302, {"Location": "/terms"}, "")})
        untrusted, unreadable = Network({"/api": said(False)}), Network({"/api": (200, {}, "[]")})
        async with served(network) as web, served(untrusted, tls[0]) as secure, served(unreadable) as plain:
            for api in (f"{secure}/api", f"{plain}/api"):
                watching = watch([f"{web}/probe"], api)
                assert await watching.look(PATH, lambda: None)
                assert watching.portal is not None
                assert (watching.portal.url, watching.portal.sign) == (f"{web}/terms", PortalSign.ANSWER)

    asyncio.run(main())


def test_pages_that_lead_to_each_other_are_told_and_not_followed_for_ever() -> None:
    async def main() -> None:
        network = Network({"/probe": (302, {"Location": "/a"}, "")})
        network.pages |= {"/a": (302, {"Location": "/b"}, ""), "/b": (302, {"Location": "/a"}, "")}
        async with served(network) as web:
            watching = watch([f"{web}/probe"])
            assert await watching.look(PATH, lambda: None)
            assert "to no end" in watching.portal_line
            assert len(network.asked) < 20
            network.pages["/probe"] = (204, {}, "")
            assert not await watching.look(PATH, lambda: None)
            assert watching.portal_line == ""

    asyncio.run(main())
