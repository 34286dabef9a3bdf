"""What a local proxy port says in HTTP itself: pages of its own, refusals, and the proxy auto-configuration file."""

from __future__ import annotations

from tunflow.endpoint import Endpoint
from tunflow.protocols.codec import Refusal

_STATUS = {
    Refusal.PROHIBITED: "403 Forbidden",
    Refusal.TIMED_OUT: "504 Gateway Timeout",
    Refusal.UNSUPPORTED: "501 Not Implemented",
}
_BAD_GATEWAY = "502 Bad Gateway"

PAC_PATH = "/proxy.pac"
_PAC_KIND = "application/x-ns-proxy-autoconfig"

CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"
"""RFC 9110 §9.3.6: the answer to CONNECT, behind which the tunnel begins."""


def page(status: str, text: str, extra: str = "", kind: str = "text/plain") -> bytes:
    """A whole answer of ours, behind which the connection ends."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(text.encode())}\r\n{extra}"
    return f"{head}Connection: close\r\n\r\n{text}".encode()


def local_page(where: str, path: str) -> bytes:
    """The answer to a request for the port itself, which the client reaches at `where` (HOST:PORT)."""
    if path.partition("?")[0] == PAC_PATH:
        return page("200 OK", pac(where), kind=_PAC_KIND)
    return page("404 Not Found", f"this is a proxy; its configuration file is {PAC_PATH}\n")


def refusal_page(refusal: Refusal, target: Endpoint | None, detail: str) -> bytes:
    """The target could not be reached."""
    return page(_STATUS.get(refusal, _BAD_GATEWAY), f"{target}: {detail}\n")


def sign_in_page() -> bytes:
    """RFC 9110 §15.5.8: a user name and a password are wanted."""
    extra = 'Proxy-Authenticate: Basic realm="tunflow"\r\n'
    return page("407 Proxy Authentication Required", "a user name and password are needed\n", extra)


def pac(where: str) -> str:
    """A proxy auto-configuration file that sends everything to `where` (HOST:PORT), local names aside."""
    return (
        "function FindProxyForURL(url, host) {\n"
        "  if (isPlainHostName(host) || host === 'localhost' || shExpMatch(host, '127.*') || host === '[::1]')"
        " return 'DIRECT';\n"
        f"  return 'SOCKS5 {where}; SOCKS {where}; PROXY {where}';\n"
        "}\n"
    )
