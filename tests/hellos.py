"""Builds ClientHellos, which the tests cut and hide in packets."""

from __future__ import annotations


def vector(data: bytes, width: int) -> bytes:
    return len(data).to_bytes(width, "big") + data


def extension(kind: int, value: bytes) -> bytes:
    return kind.to_bytes(2, "big") + vector(value, 2)


def server_name(name: bytes) -> bytes:
    return extension(0, vector(b"\0" + vector(name, 2), 2))


def client_hello(name: bytes | None = b"www.example.com", *, padding: int = 0, more: bytes = b"") -> bytes:
    """A handshake message (RFC 8446 §4.1.2)."""
    extensions = extension(21, bytes(padding)) if padding else b""
    extensions += server_name(name) if name is not None else b""
    extensions += extension(16, vector(vector(b"h2", 1) + vector(b"http/1.1", 1), 2)) + more
    body = b"\3\3" + bytes(32) + vector(bytes(32), 1) + vector(b"\x13\1\x13\2", 2) + vector(b"\0", 1)
    return b"\1" + vector(body + vector(extensions, 2), 3)


def records(message: bytes, size: int = 1 << 14) -> bytes:
    """The message in TLS records of at most `size` bytes (RFC 8446 §5.1)."""
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\3\1" + vector(piece, 2) for piece in pieces)
