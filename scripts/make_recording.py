#!/usr/bin/env python3
"""Writes docs/pictures/terminal.svg: what a terminal shows of real runs, in a network namespace of its own. As root.

python scripts/make_recording.py
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).parent.parent / "docs/pictures/terminal.svg"
SITE = "203.0.113.7"
"""Of RFC 5737's block for examples; an address of the namespace's loopback."""
LINK = f"ss://aes-256-gcm:secret@{SITE}:8388"
PROFILE = f"""
rules = ["DOMAIN-SUFFIX,example.com,far", "IP-CIDR,{SITE}/32,far", "MATCH,DIRECT"]
[servers.tokyo]
url = "{LINK}"
[groups.far]
type = "select"
servers = ["tokyo"]
[dns]
hosts = {{ "www.example.com" = ["{SITE}"] }}
"""
SHOWN = (
    f"tunflow run -- curl -s http://{SITE}/",
    f"tunflow run --stats -- ping -c 1 {SITE}",
    "tunflow explain www.example.com --profile ./home.toml",
    f"tunflow run --server wireguard://nonsense@{SITE}:51820 -- true",
)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that it has
        """Say nothing."""


def record(folder: Path) -> None:
    """Run what is shown beside a site and a server, and write the picture."""
    profile = folder / "home.toml"
    profile.write_text(PROFILE)
    profile.chmod(0o600)
    (folder / "index.html").write_text("Hello from the other end of the tunnel.\n")
    site = ThreadingHTTPServer((SITE, 80), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=site.serve_forever, daemon=True).start()
    server = subprocess.Popen(["tunflow", "serve", LINK, "--allow-local"], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    assert "serving" in server.stderr.readline()
    console = Console(record=True, width=96, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123 - as long as we live
    try:
        for line in SHOWN:
            console.print(Text("$ ", style="bold green") + Text(line, style="bold"))
            done = subprocess.run(
                shlex.split(line), cwd=folder, env={**os.environ, "TUNFLOW_SERVER": LINK}, check=False,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            console.print(Text(done.stdout.rstrip("\n")))
            console.print()
    finally:
        server.terminate()
        server.wait()
        site.shutdown()
    console.save_svg(str(PICTURE), title="tunflow")
    PICTURE.write_text(without_fonts(PICTURE.read_text()))


def without_fonts(picture: str) -> str:
    """The picture without fonts that it would fetch from elsewhere."""
    while (begin := picture.find("@font-face")) >= 0:
        picture = picture[:begin] + picture[picture.index("}", begin) + 1 :]
    return picture.replace("Fira Code", "monospace")


if __name__ == "__main__":
    if "--inside" not in sys.argv:
        again = f"exec {shlex.quote(sys.executable)} {shlex.quote(__file__)} --inside"
        script = f"ip link set lo up && ip address add {SITE}/24 dev lo && {again}"
        sys.exit(subprocess.run(["unshare", "-n", "sh", "-c", script], check=False).returncode)
    time.sleep(0.1)
    with tempfile.TemporaryDirectory() as name:
        record(Path(name))
