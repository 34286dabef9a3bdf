"""`tunflow genkey`, `genpsk` and `pubkey`: what `wg` says under the same names."""

from __future__ import annotations

import io
import json
from base64 import b64decode

import pytest

from tunflow.cli import main

PRIVATE = "gPvC6fPWE7z6uvUE6CV6ZLRsa8q2xzN5P43pJzKAX18="
PUBLIC = "21u10GQhQlfJI+QlYhWKCt2dSV9Banvw2zeNRYVax34="
"""What wireguard-tools' `wg pubkey` makes of it."""


def test_the_public_key_of_a_private_one(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PRIVATE}\n"))
    assert main(["pubkey"]) == 0
    assert capsys.readouterr().out == f"{PUBLIC}\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(PRIVATE))
    assert main(["pubkey", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"public_key": PUBLIC}


def test_what_is_no_key_is_one_line_that_does_not_show_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(PRIVATE[:-2]))
    assert main(["pubkey"]) == 2
    said = capsys.readouterr().err
    assert "not a WireGuard key" in said
    assert said.count("\n") == 1
    assert PRIVATE[:10] not in said


def test_new_keys_are_new_and_private_ones_have_their_bits(capsys: pytest.CaptureFixture[str]) -> None:
    made = []
    for name in ("genkey", "genkey", "genpsk", "genpsk"):
        assert main([name]) == 0
        made.append(b64decode(capsys.readouterr().out, validate=False))
    assert len(set(made)) == 4
    assert {len(key) for key in made} == {32}
    assert all(key[0] & 7 == 0 and key[31] >> 6 == 1 for key in made[:2])
