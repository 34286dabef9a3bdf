"""The files that a link of an IKEv2 server names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunflow.errors import LocalError
from tunflow.providers.ikev2 import load_messages, server_of


def test_a_file_that_is_not_there_or_has_no_certificate(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing\n")
    for path, said in ((tmp_path / "none.pem", "cannot be read"), (empty, "no certificate in PEM")):
        with pytest.raises(LocalError, match=said):
            load_messages(server_of({"link": f"ikev2://maria:x@vpn.example?ca={path}"}))


def test_a_shared_secret_needs_no_file() -> None:
    commands = [command for command, _ in load_messages(server_of({"link": "ikev2://a:x@vpn.example?auth=psk"}))]
    assert commands == ["load-shared", "load-conn"]
