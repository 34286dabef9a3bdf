from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from tunflow.protocols.shadowsocks.keys import master_key
from tunflow.protocols.shadowsocks.methods import METHODS, Method

VECTORS = tomllib.loads((Path(__file__).parents[2] / "vectors" / "shadowsocks_aead.toml").read_text())


@dataclass(frozen=True)
class Vector:
    method: Method
    key: bytes
    salt: bytes
    subkey: bytes
    tcp: bytes
    udp: bytes


@pytest.fixture(params=VECTORS)
def vector(request: pytest.FixtureRequest) -> Vector:
    """One method's vector; the file says what is in it."""
    method = METHODS[request.param]
    known = {name: bytes.fromhex(text) for name, text in VECTORS[method.name].items()}
    return Vector(method, master_key("test", method.key_size), bytes(range(method.salt_size)), **known)


@pytest.fixture(params=[name for name, method in METHODS.items() if not method.is_2022])
def method(request: pytest.FixtureRequest) -> Method:
    return METHODS[request.param]
