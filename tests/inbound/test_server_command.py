"""`tunflow serve` as a process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

USER = "01234567-89ab-cdef-0123-456789abcdef"
COMMAND = (sys.executable, "-m", "tunflow", "serve")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("by", ["argument", "environment"])
def test_it_says_when_it_is_ready_and_ends_well_on_a_signal(number: signal.Signals, by: str) -> None:
    port = free_port()
    link = f"ss://chacha20-ietf-poly1305:secret@127.0.0.1:{port}"
    arguments, environment = ([link], {}) if by == "argument" else ([], {"TUNFLOW_SERVER": link})
    with subprocess.Popen(
        [*COMMAND, *arguments], stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as served:
        assert served.stderr is not None
        assert served.stderr.readline() == f"serving ss://chacha20-ietf-poly1305 on 127.0.0.1:{port} (TCP + UDP)\n"
        with socket.create_connection(("127.0.0.1", port)) as idle:
            served.send_signal(number)
            assert served.wait(60) == 0
            assert idle
        assert served.stderr.read() == ""


@pytest.mark.parametrize(
    ("link", "says"),
    [
        ("ss://aes-256-gcm:secret@192.0.2.1:8388", "cannot listen on 192.0.2.1:8388: not an address of this machine"),
        ("ss://rot13:secret@127.0.0.1:8388", "unknown method 'rot13'"),
        ("direct://", "serve takes an ss://, trojan://, vless:// or vmess:// link, not direct://"),
        ("trojan://secret@127.0.0.1:8388", "TLS needs a certificate: --certificate FILE --key FILE"),
        (f"vless://{USER}@127.0.0.1:8388?security=tls&flow=xtls-rprx-vision", "serve does not do flow=xtls-rprx"),
        (f"vless://{USER}@127.0.0.1:8388?security=reality&pbk={'a' * 43}", "serve does no REALITY: security=tls"),
        ("trojan://secret@127.0.0.1:8388?type=grpc", "serve does not do type=grpc; tcp and ws are served"),
    ],
)
def test_what_is_wrong_is_one_line_and_status_2(link: str, says: str) -> None:
    done = subprocess.run([*COMMAND, link], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["trojan://secret@127.0.0.1:1?security=none", "--certificate", "c.pem"],
            "--certificate c.pem or --key c.pem: no",
        ),
        (
            ["ss://aes-256-gcm:secret@127.0.0.1:1", "--certificate", "c.pem"],
            "go with a trojan://, vless:// or vmess:// link",
        ),
        (["ss://aes-256-gcm:secret@127.0.0.1:1", "--users", "missing"], "--users missing: No such file"),
        (["ss://aes-256-gcm:secret@127.0.0.1:1", "--users", "users"], "are for the 2022 methods with AES"),
        (["vless://01234567-89ab-cdef-0123-456789abcdef@127.0.0.1:1", "--users", "users"], "the user id is no UUID"),
        (["trojan://secret@127.0.0.1:1?security=none", "--users", "long"], "long:2: a user is SECRET or NAME SECRET"),
        (["trojan://secret@127.0.0.1:1?security=none", "--users", "empty"], "--users empty: names nobody"),
        (
            ["shadowvpn://secret@127.0.0.1:1?net=10.7.0.1/24", "--users", "users"],
            "--users goes with a trojan://, vless://",
        ),
    ],
)
def test_users_and_certificates_that_are_none(tmp_path, arguments: list[str], says: str) -> None:
    (tmp_path / "users").write_text("me secret\n")
    (tmp_path / "long").write_text("# two\nme or secret\n")
    (tmp_path / "empty").write_text("\n# nobody\n")
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "secret" not in done.stderr
