"""A port that is free for one socket may be taken for the next."""

from __future__ import annotations

import errno
import socket

import pytest

from one_port import sockets_at_one_port
from open_files import open_files, opened_since


def test_all_get_another_port_where_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    before, refused = open_files(), []

    class Taken(socket.socket):
        def bind(self, where: object) -> None:
            if self.type == socket.SOCK_DGRAM and len(refused) < 3:
                refused.append(where)
                raise OSError(errno.EADDRINUSE, "in use")
            super().bind(where)  # type: ignore[arg-type]

    monkeypatch.setattr("one_port.socket.socket", Taken)
    made = sockets_at_one_port("127.0.0.2", "127.0.0.3")
    assert len(refused) == 3
    (port,) = {each.getsockname()[1] for pair in made for each in pair}
    assert port
    for each in (*made[0], *made[1]):
        each.close()
    assert not opened_since(before)


def test_what_is_no_matter_of_ports_is_told() -> None:
    with pytest.raises(OSError, match="assign"):
        sockets_at_one_port("192.0.2.1")
