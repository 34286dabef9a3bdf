"""ssh, scp and sftp through a tunnel: long-lived, two-way, closed from either side."""

from __future__ import annotations

import hashlib
import random

import pytest
from bench.netlab.namespaces import SITE4, SITE6
from bench.netlab.peers import ssh_options
from lab_support import Tunnel

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("host", [SITE4, SITE6])
def test_command_and_its_exit_status(tunnel: Tunnel, host: str) -> None:
    done = tunnel.run(["ssh", *ssh_options(tunnel.lab), f"root@{host}", "echo far; exit 5"])
    assert (done.returncode, done.stdout) == (5, b"far\n")


def test_stdin_to_the_far_side(tunnel: Tunnel) -> None:
    data = random.Random(5).randbytes(5_000_000)
    done = tunnel.run(["ssh", *ssh_options(tunnel.lab), f"root@{SITE4}", "sha256sum"], stdin=data)
    assert done.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("program", ["scp", "sftp"])
def test_file_there_and_back(tunnel: Tunnel, program: str) -> None:
    directory = tunnel.lab.directory
    sent, far, back = (directory / f"{program}-{name}" for name in ("sent", "far", "back"))
    sent.write_bytes(random.Random(6).randbytes(3_000_000))
    options = ssh_options(tunnel.lab)
    if program == "scp":
        tunnel.ok(["scp", "-q", *options, str(sent), f"root@{SITE4}:{far}"])
        tunnel.ok(["scp", "-q", *options, f"root@{SITE4}:{far}", str(back)])
    else:
        batch = f"put {sent} {far}\nget {far} {back}\n".encode()
        assert tunnel.run(["sftp", "-q", "-b", "-", *options, f"root@{SITE4}"], stdin=batch).returncode == 0
    assert back.read_bytes() == sent.read_bytes()
