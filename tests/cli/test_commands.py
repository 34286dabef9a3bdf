"""The table of commands: each has its file, its help, and says its mistakes in one line."""

import os
import subprocess
import sys

import pytest

from tunflow.cli import main
from tunflow.cli.commands import COMMANDS, command


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_and_prints_it(name, capsys):
    file = command(name)
    assert file.HELP.line[0].islower()
    assert not file.HELP.line.endswith(".")
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    assert left.value.code == 0
    assert " ".join(file.HELP.description.split())[:40] in " ".join(capsys.readouterr().out.split())


def test_an_unknown_command_is_one_line_with_the_known_ones(capsys):
    assert main(["nix"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert all(name in said.replace(",", "").split() for name in COMMANDS)


def test_a_command_that_was_mistyped(capsys):
    assert main(["statsu"]) == 2
    assert "there is no command 'statsu', did you mean status?" in capsys.readouterr().err


def test_only_run_and_exec_take_what_stands_behind_the_dashes(capsys):
    assert main(["status", "--", "x"]) == 2
    assert "takes nothing behind --" in capsys.readouterr().err


@pytest.mark.parametrize(("named", "status"), [("nosuchcmd", 127), ("/etc/passwd", 126)])
@pytest.mark.parametrize("line", ["run --server direct://", "exec", "portal"])
def test_a_program_that_cannot_be_run_is_one_line(line, named, status, capsys):
    assert main([*line.split(), "--", named]) == status
    assert capsys.readouterr().err.count("\n") == 1


def test_the_help_of_server_names_every_protocol(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    said = capsys.readouterr().out
    assert all(f"{scheme}://" in said for scheme in ("ss", "socks5", "http", "tor", "direct", "block"))


def test_a_command_waits_for_no_other_commands_imports():
    code = "import sys; from tunflow.cli import main; main(['down', '--json', 'x']); print(*sys.modules, sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "tunflow.cli.commands.down" in loaded
    assert not {"tunflow.cli.commands.run", "pydantic", "cryptography", "asyncio", "tunflow.profiles.profile"} & {
        *loaded
    }


def test_who_reads_profiles_waits_for_nothing_that_imports_or_compiles_them():
    code = "import sys, tunflow.cli.profile; print(*sys.modules, sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "tunflow.profiles.store" in loaded
    assert not {"tunflow.tunnel.compile", "tunflow.profiles.imports.importer", "cryptography.x509", "yaml"} & {*loaded}


def test_a_start_looks_for_no_cycles(tmp_path):
    """There are some 80,000 objects of imports, which all stay."""
    code = (
        "import gc, sys; from tunflow.cli import main; sys.argv = ['tunflow', 'status']; count = gc.get_stats\n"
        "before = count()[0]['collections']; assert main() == 3; print(count()[0]['collections'] - before)"
    )
    environment = {**os.environ, "TUNFLOW_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "0"
