"""What tests draw is drawn from their names, whoever asks, and differs between processes."""

from __future__ import annotations

import inspect
import os
import random
import secrets
import uuid
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chance import Chance
from tunflow.inbound.server import InboundServer

VARIANT = os.environ.get("TUNFLOW_TEST_SEED", "")
WAYS: list[Callable[[], object]] = [
    lambda: os.urandom(8),
    lambda: secrets.token_hex(8),
    lambda: secrets.randbits(64),
    lambda: random.SystemRandom().random(),
    uuid.uuid4,
    random.random,
]


@pytest.mark.parametrize("way", WAYS)
def test_a_seed_is_all_that_decides(way: Callable[[], object]) -> None:
    before = os.urandom
    chance = Chance()
    os.urandom = vars(random)["_urandom"] = chance.urandom
    try:
        drawn = []
        for name in ("a test", "another", "a test"):
            with chance.seeded(name):
                drawn.append((way(), way()))
    finally:
        os.urandom = vars(random)["_urandom"] = before
    assert drawn[0] == drawn[2] != drawn[1]
    assert drawn[0][0] != drawn[0][1]


def test_a_variant_draws_others() -> None:
    drawn = set()
    for variant in ("", "2", "3"):
        chance = Chance(variant)
        with chance.seeded("a test"):
            drawn.add(chance.urandom(8))
    assert len(drawn) == 3


def test_without_a_seed_the_system_draws() -> None:
    chance = Chance()
    assert len({chance.urandom(16) for _ in range(3)}) == 3
    assert chance.urandom(0) == b""


def test_this_test_is_seeded_and_our_defaults_too(request: pytest.FixtureRequest) -> None:
    drawn = random.Random(f"{VARIANT} {request.node.nodeid}")
    assert [os.urandom(5), inspect.signature(InboundServer).parameters["rng"].default(9)] == [
        drawn.randbytes(5),
        drawn.randbytes(9),
    ]


def test_children_draw_other_numbers_than_their_parent_and_each_other() -> None:
    told = []
    for _ in range(2):
        reader, writer = os.pipe()
        if (child := os.fork()) == 0:
            os.write(writer, os.urandom(8) + random.randbytes(8))
            os._exit(0)
        os.close(writer)
        told.append(os.read(reader, 100))
        os.close(reader)
        os.waitpid(child, 0)
    told.append(os.urandom(8) + random.randbytes(8))
    assert len({text[at : at + 8] for text in told for at in (0, 8)}) >= 3
    assert len(set(told)) == 3


@given(st.binary())
def test_hypothesis_goes_on(data: bytes) -> None:
    assert len(os.urandom(len(data))) == len(data)
