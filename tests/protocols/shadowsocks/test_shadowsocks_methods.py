from __future__ import annotations

import subprocess
import sys

import pytest

from tunflow.protocols.shadowsocks.methods import METHODS, TAG_SIZE, canonical_name, invalid_tag, why_refused


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("aes-256-gcm", "aes-256-gcm"),
        ("AES-256-GCM", "aes-256-gcm"),
        ("AEAD_AES_128_GCM", "aes-128-gcm"),
        ("aead_aes_192_gcm", "aes-192-gcm"),
        ("chacha20-poly1305", "chacha20-ietf-poly1305"),
        ("AEAD_CHACHA20_POLY1305", "chacha20-ietf-poly1305"),
        ("xchacha20-poly1305", "xchacha20-ietf-poly1305"),
    ],
)
def test_aliases(name, canonical):
    assert canonical_name(name) == canonical
    assert canonical in METHODS


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("2022-blake3-chacha8-poly1305", "not supported"),
        ("rc4-md5", "stream cipher"),
        ("aes-256-cfb", "stream cipher"),
        ("chacha20", "stream cipher"),
        ("none", "not supported"),
        ("aes-128-ccm", "not supported"),
    ],
)
def test_known_but_refused(name, reason):
    assert name not in METHODS
    assert reason in (why_refused(name) or "")


def test_why_refused_knows_no_nonsense():
    assert why_refused("aes-257-gcm") is None


def test_cipher_seals_and_refuses_forgeries(method):
    aead = method.aead(bytes(method.key_size))
    nonce = bytes(method.nonce_size)
    sealed = aead.encrypt(nonce, memoryview(b"payload"), None)
    assert len(sealed) == len(b"payload") + TAG_SIZE
    assert aead.decrypt(nonce, memoryview(sealed), None) == b"payload"
    with pytest.raises(invalid_tag()):
        aead.decrypt(nonce, sealed[:-1] + bytes((sealed[-1] ^ 1,)), None)


def test_naming_things_loads_no_cipher_library():
    code = (
        "import sys; from tunflow.protocols.registry import parse_server;"
        "import tunflow.protocols.shadowsocks.stream, tunflow.protocols.shadowsocks.datagram;"
        "parse_server('ss://aes-256-gcm:secret@host:1');"
        "sys.exit(' '.join(name for name in sys.modules if name in {'cryptography', 'nacl'}) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
