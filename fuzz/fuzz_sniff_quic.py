"""Any bytes as datagrams and, behind the protection, as frames: a hello, more needed, or BadPacket."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from tunflow.errors import BadPacket
from tunflow.sniff.quic import CONNECTIONS, FlowSniffer, InitialSniffer

# RFC 9001 appendix A.1.
_START = bytes.fromhex("c300000001088394c8f03e5157080000")
_AEAD = AESGCM(bytes.fromhex("1f369613dd76d5467730efcbe3b1a22d"))
_IV = bytes.fromhex("fa044b2f42a3fd3b46fb255c")
_MASK = Cipher(AES(bytes.fromhex("9f50449e04a0e810283a1e9933adedd2")), ECB())

_HELLO = (
    bytes.fromhex("010000370303")
    + bytes(32)
    + bytes.fromhex("0000021301010000 0c 0000000800060000036d2e6e".replace(" ", ""))
)
SEEDS = [
    b"\6\0" + (0x4000 | len(_HELLO)).to_bytes(2, "big") + _HELLO + bytes(20),
    b"\1\2\0\0\0\0\6\x04\x04" + _HELLO[4:8] + b"\6\0\x04" + _HELLO[:4] + bytes(20),
]


def protect(frames: bytes) -> bytes:
    """An Initial that holds the frames."""
    header = _START + (0x4000 | (len(frames) + 20)).to_bytes(2, "big") + bytes(4)
    sealed = _AEAD.encrypt(_IV, frames, header)
    mask = _MASK.encryptor().update(sealed[:16])
    return bytes((header[0] ^ (mask[0] & 0x0F),)) + header[1:-4] + mask[1:5] + sealed


def one_input(data: bytes) -> None:
    """As a datagram, and as the frames of two packets."""
    half = len(data) // 2
    for datagrams in ((data,), (protect(data[:half][:8000]), protect(data[half:][:8000]))):
        for sniffer in (InitialSniffer(), FlowSniffer()):
            for datagram in datagrams:
                try:
                    sniffer.receive_untrusted(datagram)
                except BadPacket:
                    break
            assert not isinstance(sniffer, FlowSniffer) or len(sniffer._begun) <= CONNECTIONS
