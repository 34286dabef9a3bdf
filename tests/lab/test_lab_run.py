"""`tunflow run` as a command: exit status, signals, streams, and one clear line when it cannot."""

from __future__ import annotations

import os
import random
import signal
import subprocess

import pytest
from bench.netlab.namespaces import SERVER4, SITE4
from bench.netlab.tunnel import TUNFLOW, shadowsocks_url
from lab_support import Contents, Tunnel, log_lines

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("status", [0, 1, 7, 255])
def test_exit_status_is_the_programs(tunnel: Tunnel, status: int) -> None:
    assert tunnel.run(["sh", "-c", f"exit {status}"]).returncode == status


def test_death_by_signal_is_the_programs(tunnel: Tunnel) -> None:
    """As a shell reports it (128 + N), or the same death."""
    assert tunnel.run(["sh", "-c", "kill -TERM $$"]).returncode in (128 + 15, -15)


def test_streams_are_the_programs(tunnel: Tunnel) -> None:
    data = random.Random(7).randbytes(3_000_000)
    done = tunnel.run(["sh", "-c", "cat; echo complaint >&2"], stdin=data)
    assert done.stdout == data
    assert done.stderr == b"complaint\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_reach_the_program(tunnel: Tunnel, number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    script = f"trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 0.1; done"
    running = tunnel.start(["sh", "-c", script])
    assert running.popen.stdout is not None
    assert running.popen.stdout.readline() == b"ready\n", running.output()
    running.popen.send_signal(number)
    assert running.popen.stdout.readline() == f"got {name}\n".encode()
    assert running.popen.wait(60) == 9


def test_what_the_program_leaves_behind(tunnel: Tunnel) -> None:
    """No interface, route, rule, mount or process stays."""
    client = tunnel.lab.client
    look = [
        "sh",
        "-c",
        "ip addr; ip route show table all; ip -6 route show table all; ip rule; grep -v /run/netns /proc/mounts",
    ]
    before = client.run(look).stdout
    tunnel.ok(["true"])
    tunnel.run(["false"])
    assert client.run(look).stdout == before


def test_user_directory_and_loopback_are_the_programs(tunnel: Tunnel) -> None:
    script = "id -u; pwd; (echo x | timeout 50 busybox nc -l -p 4000 >/dev/null &) ; "
    script += "until busybox nc 127.0.0.1 4000 </dev/null 2>/dev/null; do sleep 0.1; done"
    uid, where, echoed = tunnel.ok(["sh", "-c", script]).split()
    assert (uid, echoed) == ("0", "x")
    assert where == tunnel.lab.client.run(["pwd"]).stdout.strip()


def test_program_not_found(tunnel: Tunnel) -> None:
    done = tunnel.run(["no-such-program"])
    assert done.returncode == 127
    assert len(log_lines(done.stderr)) == 1
    assert b"no-such-program" in done.stderr


def test_program_not_executable(tunnel: Tunnel) -> None:
    assert tunnel.run(["/etc/passwd"]).returncode == 126


@pytest.mark.parametrize(
    ("link", "named"),
    [
        ("ss://", b"ss://"),
        ("ss://!!!@10.66.0.2:8388", b"ss://"),
        ("ss://YWVzLTI1Ni1nY206cHc@10.66.0.2", b"port"),
        ("ss://YWVzLTI1Ni1nY206cHc@10.66.0.2:99999", b"port"),
        ("gopher://10.66.0.2:70", b"gopher"),
        ("nonsense", b"ss://"),
        (shadowsocks_url("rot13"), b"rot13"),
    ],
)
def test_bad_link_is_one_line(tunnel: Tunnel, link: str, named: bytes) -> None:
    done = tunnel.run(["true"], server=link)
    assert done.returncode == 2, done
    assert len(log_lines(done.stderr)) == 1, done.stderr
    assert named in done.stderr
    assert b"Traceback" not in done.stderr


def test_server_name_that_does_not_resolve(tunnel: Tunnel) -> None:
    done = tunnel.run(["true"], server=shadowsocks_url(host="nobody.lab"))
    assert done.returncode != 0
    assert len(log_lines(done.stderr)) == 1, done.stderr
    assert b"nobody.lab" in done.stderr


def test_server_unreachable(tunnel: Tunnel) -> None:
    """The program's connection is refused, and tunflow says once why."""
    done = tunnel.run(["curl", "-sS", "-m", "10", f"http://{SITE4}/1k"], server=shadowsocks_url(port=1))
    assert done.returncode in (7, 28, 52, 56), done
    said = [line for line in log_lines(done.stderr) if "curl:" not in line]
    assert len(said) == 1, said
    assert SERVER4 in said[0]


def test_wrong_password(tunnel: Tunnel, contents: Contents) -> None:
    """ss-server says nothing to a wrong key; the program's connection ends with an error, not in a hang."""
    link = shadowsocks_url(password="wrong")
    done = tunnel.run(["curl", "-sS", "-m", "15", f"http://{SITE4}/1k"], server=link, timeout=40)
    assert done.returncode in (7, 28, 52, 56), done
    assert b"Traceback" not in done.stderr


def test_server_from_the_environment(tunnel: Tunnel, contents: Contents) -> None:
    command = [TUNFLOW, "run", "--dns", "off", "--", "curl", "-sSf", f"http://{SITE4}/1k"]
    done = subprocess.run(
        tunnel.lab.client.command(command),
        env={**tunnel.lab.client.env, "TUNFLOW_SERVER": shadowsocks_url()},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, len(done.stdout)) == (0, 1024), done.stderr


def test_background_child_of_the_program(tunnel: Tunnel, contents: Contents) -> None:
    """A pipeline and a child of a child are inside too; tunflow ends when its program ends."""
    script = f"sh -c 'curl -sSf http://{SITE4}/1k' | wc -c; sleep 600 >/dev/null 2>&1 & echo $!"
    count, child = tunnel.ok(["sh", "-c", script], timeout=60).split()
    assert count == "1024"
    os.kill(int(child), signal.SIGKILL)
