"""A protocol that another package brings by an entry point is everywhere, and nothing of tunflow was edited for it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "toy_protocol"
KEY = 42
LINK = f"toy://{KEY}@192.0.2.7:9#Attic"


@pytest.fixture
def environment(tmp_path):
    """The environment in which the package is installed: its folder and what an installer writes beside it."""
    facts = tmp_path / "installed" / "toyproxy-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: toyproxy\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[tunflow.protocols]\ntoy = toyproxy:PROTOCOL\n")
    path = os.pathsep.join([str(facts.parent), str(HERE), *sys.path])
    return {**os.environ, "PYTHONPATH": path, "XDG_CONFIG_HOME": str(tmp_path / "config"), "HOME": str(tmp_path)}


def tunflow(environment, *arguments, **more):
    command = [sys.executable, "-m", "tunflow", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60, **more)


def test_it_stands_in_the_help_of_server(environment):
    assert "toy://KEY@HOST:PORT" in tunflow(environment, "run", "--help").stdout


def test_errors_name_its_scheme_and_its_own_complaints_are_one_line(environment):
    said = tunflow(environment, "run", "--server", "nix://x", "--", "true")
    assert (said.returncode, "toy://" in said.stderr, said.stderr.count("\n")) == (2, True, 1)
    said = tunflow(environment, "run", "--server", "toy://4000@h:1", "--", "true")
    assert (said.returncode, said.stderr) == (2, "tunflow: the key of a toy:// link is a number from 1 to 255\n")


def test_profiles_take_it_as_a_link_and_as_a_table_and_hide_its_key(environment, tmp_path):
    file = tmp_path / "home.toml"
    file.write_text(f'server = ["{LINK}"]\n[servers.b]\ntype = "toy"\nhost = "192.0.2.8"\nport = 1\nkey = "7"\n[[x]]\n')
    said = tunflow(environment, "profile", "show", str(file))
    assert (said.returncode, "x is not a key" in said.stderr) == (2, True)
    file.write_text(file.read_text().replace("[[x]]\n", ""))
    shown = tunflow(environment, "profile", "show", "--json", str(file))
    facts = json.loads(shown.stdout)
    assert facts["server"] == ["toy://192.0.2.7:9#Attic"]
    assert facts["servers"]["b"]["url"] == "toy://192.0.2.8:1"
    file.write_text(file.read_text().replace("key =", "kye ="))
    said = tunflow(environment, "profile", "show", str(file))
    assert (said.returncode, "home.toml:6: servers.b.kye is not a field of toy; did you mean key?" in said.stderr) == (
        2,
        True,
    )


def test_it_is_imported_from_a_subscription_and_from_clash(environment):
    done = tunflow(environment, "profile", "import", "-", "--name", "sub", input=LINK + "\n")
    assert done.returncode == 0, done.stderr
    clash = (
        "proxies:\n- {name: attic, type: toy, server: 192.0.2.7, port: 9, key: 42}\n"
        "proxy-groups:\n- {name: P, type: select, proxies: [attic]}\nrules:\n- MATCH,P\n"
    )
    done = tunflow(environment, "profile", "import", "-", "--name", "clash", input=clash)
    assert done.returncode == 0, done.stderr
    shown = tunflow(environment, "profile", "show", "--json", "--secrets", "clash")
    assert LINK.replace("Attic", "attic") in shown.stdout
    code = tunflow(environment, "profile", "show", "--qr", "--json", "sub")
    assert LINK in code.stdout


def serve_toy(listening: socket.socket) -> None:
    """One flow: answers with what it was asked for, and what came behind that."""
    table = bytes(byte ^ KEY for byte in range(256))
    with listening.accept()[0] as client:
        heard = b""
        while not heard.translate(table).endswith(b"\r\n\r\n"):
            heard += client.recv(4096)
        asked = heard.translate(table).partition(b"\n")[0]
        body = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(asked), asked)
        client.sendall(body.translate(table))
        client.shutdown(socket.SHUT_WR)
        client.recv(1)


@pytest.mark.lab
def test_it_carries_a_flow(environment):
    if os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("a TUN device needs root on some machines: NOT RUN")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)
        server = threading.Thread(target=serve_toy, args=(listening,), daemon=True)
        server.start()
        link = f"toy://{KEY}@127.0.0.1:{listening.getsockname()[1]}"
        done = tunflow(
            environment, "run", "--server", link, "--dns", "off", "--", "curl", "-s", "http://192.0.2.80:81/"
        )
        server.join(30)
    assert (done.stdout, done.returncode) == ("192.0.2.80 81", 0), done.stderr
