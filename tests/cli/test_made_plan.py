"""What a process that serves a tunnel has no use for is not in it: what reads and checks profiles."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tunflow.cli.instructions import Instructions
from tunflow.cli.made_plan import made_plan
from tunflow.errors import LocalError

NOT_LOADED = {
    "http.client", "importlib.metadata", "nacl", "pydantic", "pydantic_core", "tomlkit", "tomllib",
    "tunflow.profiles.profile", "tunflow.tunnel.compile", "yaml",
}  # fmt: skip

SERVES = """
import sys
import tunflow.cli.supervised, tunflow.tunnel.server_backend
from tunflow.cli.instructions import Instructions
from tunflow.cli.made_plan import made_plan
from tunflow.tunnel.outbounds import find_hops_now, make_outbounds, tunnels_for
plan, instructions, notes = made_plan(Instructions.from_data(eval(sys.argv[1])))
find, failures = find_hops_now(plan.first_hops)
make_outbounds(plan, find, tunnels_for(plan))
plan.labels, plan.goes_direct, plan.is_on_demand, plan.filters, plan.files, plan.api
print(*sys.modules)
"""
"""Up to what `up` does before it touches the host."""

SERVER = "ss://aes-256-gcm:secret@192.0.2.7:8388"
PROFILE = f"""
server = "{SERVER}"
rules = ["DOMAIN-SUFFIX,a.example,auto", "IP-CIDR,192.0.2.0/24,DIRECT", "MATCH,PROXY"]
[groups.auto]
type = "fallback"
servers = ["PROXY", "DIRECT"]
[dns]
servers = ["tcp://192.0.2.9"]
[dns.fake_ip]
real = ["+.lan.example"]
"""


@pytest.mark.parametrize(
    "instructions",
    [{"profile": "{}"}, {"servers": [SERVER]}, {"servers": [SERVER], "dns": "fake", "kill_switch": True}],
    ids=["a profile", "a server", "with switches"],
)
def test_a_tunnel_does_not_load_what_reads_profiles(instructions: dict[str, object], tmp_path: Path):
    file = tmp_path / "p.toml"
    file.write_text(PROFILE)
    file.chmod(0o600)
    instructions = instructions | ({"profile": str(file)} if "profile" in instructions else {})
    done = subprocess.run(
        [sys.executable, "-c", SERVES, repr(instructions)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) & NOT_LOADED == set()


def test_notes_and_errors_come_with_it(tmp_path: Path):
    (tmp_path / "list.txt").write_text("DOMAIN,a.example\nNONSENSE,b\n")
    file = tmp_path / "p.toml"
    file.write_text(
        f"server = '{SERVER}'\nrules = ['RULE-SET,l,DIRECT', 'MATCH,PROXY']\n"
        "[rule_sets.l]\nbehavior = 'classical'\nfile = 'list.txt'\n"
    )
    file.chmod(0o600)
    plan, instructions, notes = made_plan(Instructions(profile=str(file)))
    assert plan.file == instructions.profile == str(file)
    assert ["list.txt:2" in line for line in notes] == [True]
    file.write_text("server = 7\n")
    with pytest.raises(LocalError, match=r"p\.toml:1: server"):
        made_plan(Instructions(profile=str(file)))
