"""What a stream protocol stands on, as a checked value: the network, and TLS or none.

What is asked for and cannot be done is refused and named; nothing makes a connection weaker than it was asked for,
except that `fp` (which browser the TLS greeting should look like) cannot be had: docs/observers.md says so.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from dataclasses import dataclass

from tunflow.errors import LocalError
from tunflow.protocols.link import printable

NETWORKS = ("tcp", "ws", "httpupgrade", "grpc", "http", "xhttp")
OTHER_NAMES = {"raw": "tcp", "original": "tcp", "h2": "http", "splithttp": "xhttp", "gun": "grpc"}
ON_HTTP2 = frozenset({"grpc", "http", "xhttp"})
_SECURITIES = ("none", "tls", "reality")
_WITH_REALITY = frozenset({"tcp", *ON_HTTP2})
_BROWSERS = (
    "chrome", "firefox", "safari", "ios", "android", "edge", "360", "qq", "random", "randomized", "randomizednoalpn",
    "unsafe", "none",
)  # fmt: skip
"""What `fp` may say (uTLS's names in Xray, mihomo and sing-box)."""


@dataclass(frozen=True, slots=True)
class Reality:
    """How a REALITY server is known (`security=reality`)."""

    public_key: str
    """Its X25519 key, in base64 for URLs."""
    short_id: str = ""
    """Up to 8 bytes in hexadecimal."""
    spider: str | None = None
    """The path where a browser would go on (`spx`): kept for the link, not done."""
    verify_key: str = ""
    """The ML-DSA-65 key (`pqv`) of a second signature, in base64 for URLs; nothing for none."""

    def __post_init__(self) -> None:
        """Raises LocalError."""
        if len(self.key_bytes) != 32:
            raise LocalError("pbk (public-key) is a REALITY server's public key, 43 characters of base64")
        if self.verify_key and len(self.verify_key_bytes) != 1952:
            raise LocalError("pqv (mldsa65Verify) of REALITY is an ML-DSA-65 key, 2,603 characters of base64")
        if not re.fullmatch(r"(?:[0-9a-f]{2}){0,8}", self.short_id):
            raise LocalError("sid (short-id) of REALITY is up to 8 bytes in hexadecimal")

    @property
    def key_bytes(self) -> bytes:
        """The public key; nothing if that is no base64."""
        return _from_base64(self.public_key)

    @property
    def verify_key_bytes(self) -> bytes:
        """The other one; nothing likewise."""
        return _from_base64(self.verify_key)


@dataclass(frozen=True, slots=True)
class Transport:
    """What carries the protocol's bytes: `network` is one of `NETWORKS`, inside TLS or not."""

    network: str = "tcp"
    tls: bool = False
    sni: str | None = None
    """The name that TLS asks for; the server's host if None."""
    alpn: tuple[str, ...] = ()
    pinned: str | None = None
    """SHA-256 of the only certificate that is accepted, in hexadecimal."""
    insecure: bool = False
    """True if any certificate is accepted: only if the user wrote it."""
    browser: str | None = None
    """The browser that TLS should look like (`fp`): kept for the link, not done."""
    host: str | None = None
    """For the Host field (`authority` of gRPC); the server's host if None."""
    path: str = "/"
    """Of the request; for gRPC its `serviceName`."""
    multi: bool = False
    """True if gRPC's messages are those of its `mode=multi`."""
    certificate: str | None = None
    """The file of the certificate that TLS shows of us, in PEM; None for none."""
    key: str | None = None
    """The file of its key, where that is another one."""
    reality: Reality | None = None
    """The TLS is REALITY's; then there is no certificate to check or to show."""

    @property
    def security(self) -> str:
        """One of none, tls and reality."""
        return "none" if not self.tls else "tls" if self.reality is None else "reality"


def checked(
    *,
    network: str,
    security: str,
    sni: str | None,
    alpn: tuple[str, ...],
    pinned: str | None,
    insecure: bool,
    browser: str | None,
    host: str | None,
    path: str,
    header: str,
    mode: str | None,
    certificate: str | None = None,
    key: str | None = None,
    reality: Reality | None = None,
) -> Transport:
    """A checked transport. Raises LocalError."""
    network = OTHER_NAMES.get(network, network)
    check_network(network)
    _check_security(security, has_certificate_words=bool(pinned or insecure or certificate))
    if (security == "reality") != (reality is not None):
        raise LocalError("security=reality goes with the server's public key (pbk), and pbk with security=reality")
    if reality is not None:
        insecure = False  # programs write it, and do not do it: who the server is, is proved
        _check_reality(network, has_certificate_words=bool(pinned or certificate))
    _check_identity(certificate, key)
    if header != "none":
        raise LocalError(f"headerType={printable(header)} is not supported; none is")
    if browser is not None and browser.lower() not in _BROWSERS:
        raise LocalError(f"fp={printable(browser)} is not known; {', '.join(_BROWSERS)} are (none of them is done)")
    if pinned is not None:
        pinned = pinned.replace(":", "").lower()
        if not re.fullmatch(r"[0-9a-f]{64}", pinned):
            raise LocalError("the pinned fingerprint is the SHA-256 of a certificate, 64 hexadecimal digits")
    # Xray writes the size of early data into the path; servers take streams without.
    path = re.sub(r"\?ed=[0-9]+$", "", path)
    for word in (path, host or "", sni or ""):
        if not re.fullmatch(r"[\x21-\x7e]*", word):
            raise LocalError("path, host and sni are printable ASCII without blanks")
    if any(not 1 <= len(part) <= 63 for part in (sni or "x").removesuffix(".").split(".")):
        raise LocalError("sni is a host name: parts of 1 to 63 characters with dots between them")
    if network != "grpc" and not path.startswith("/"):
        path = f"/{path}"
    multi, alpn, tls = _check_mode(network, mode), _checked_alpn(network, alpn), security != "none"
    return Transport(
        network, tls, sni, alpn, pinned, insecure, browser, host, path, multi, certificate, key, reality
    )  # fmt: skip


def _from_base64(text: str) -> bytes:
    """Bytes from either alphabet; nothing if it is none."""
    digits = text.rstrip("=").replace("+", "-").replace("/", "_")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", digits) or len(digits) % 4 == 1:
        return b""
    return urlsafe_b64decode(digits + "=" * (-len(digits) % 4))


def check_network(network: str) -> None:
    """Raises LocalError for a network, by its own name, that is none of `NETWORKS`."""
    if network not in NETWORKS:
        raise LocalError(f"type (network) {printable(network)} is not supported; {', '.join(NETWORKS)} are")


def _check_identity(certificate: str | None, key: str | None) -> None:
    """Raises LocalError for what are no names of files."""
    if key is not None and certificate is None:
        raise LocalError("it names a key and no certificate")
    for text in (certificate, key):
        if text is not None and (not text.isprintable() or "-----BEGIN" in text):
            raise LocalError("certificate and key are names of files in PEM, not what stands in them")


def _check_security(security: str, *, has_certificate_words: bool) -> None:
    """Raises LocalError for what is not known, or would not do what was asked for."""
    if security not in _SECURITIES:
        raise LocalError(f"security={printable(security)} is not supported; {', '.join(_SECURITIES)} are")
    if security == "none" and has_certificate_words:
        raise LocalError("it names a certificate to check or not to check, and no TLS (security=tls)")


def _check_reality(network: str, *, has_certificate_words: bool) -> None:
    """Raises LocalError for what REALITY does not do."""
    if network not in _WITH_REALITY:
        raise LocalError(f"security=reality of {network} is not supported; of tcp, grpc, http and xhttp it is")
    if has_certificate_words:
        raise LocalError("security=reality has no certificate to pin or to show: the server is known by pbk")


def _check_mode(network: str, mode: str | None) -> bool:
    """Return True for gRPC's multi mode. Raises LocalError for a mode that is not known, or not done."""
    if network == "grpc":
        if mode not in {None, "gun", "multi"}:
            raise LocalError(f"mode={printable(mode or '')} of grpc is not supported; gun and multi are")
        return mode == "multi"
    if network == "xhttp" and mode not in {None, "auto", "stream-one"}:
        raise LocalError(f"mode={printable(mode or '')} of xhttp is not supported; stream-one is (and auto, as that)")
    if network != "xhttp" and mode is not None:
        raise LocalError("mode goes with type=grpc (gun, multi) or type=xhttp (stream-one)")
    return False


def _checked_alpn(network: str, alpn: tuple[str, ...]) -> tuple[str, ...]:
    """What TLS offers. Raises LocalError for what the network cannot stand on."""
    if any(not 1 <= len(name) <= 255 or not name.isascii() for name in alpn):
        raise LocalError("each name of alpn has 1 to 255 ASCII characters")
    if network == "tcp":
        return alpn
    needed = "h2" if network in ON_HTTP2 else "http/1.1"
    if alpn and needed not in alpn:
        raise LocalError(f"alpn of {network} is {needed}: that is what it speaks")
    return (needed,) if alpn else ()
