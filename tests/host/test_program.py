"""The launcher with real namespaces: what a program sees, and what it leaves behind."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from launching import USER, Launcher, home_for_all, needs_root

pytestmark = [pytest.mark.lab, needs_root]


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    home = home_for_all()
    yield home
    shutil.rmtree(home)


@pytest.fixture(params=["root", "user"])
def launcher(request: pytest.FixtureRequest, home: Path) -> Launcher:
    return Launcher(home, as_root=request.param == "root")


@pytest.fixture
def user(home: Path) -> Launcher:
    return Launcher(home, as_root=False)


@pytest.fixture
def root(home: Path) -> Launcher:
    return Launcher(home, as_root=True)


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_exit_status(launcher: Launcher, code: int) -> None:
    assert launcher.run("sh", "-c", f"exit {code}").returncode == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGINT, signal.SIGPIPE])
def test_death_by_signal(launcher: Launcher, number: int) -> None:
    assert launcher.run("sh", "-c", f"kill -{int(number)} $$").returncode == -number


def test_command_not_found_and_not_executable(launcher: Launcher, home: Path) -> None:
    plain = home / "launch.py"
    for name, status in (("no-such-program", 127), (str(plain), 126), ("/etc", 126)):
        done = launcher.run(name)
        assert done.returncode == status
        assert re.fullmatch(r"tunflow: [^\n]+\n", done.stderr)


def test_a_broken_interpreter_line_is_126_and_one_line(launcher: Launcher, home: Path) -> None:
    script = home / "broken"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    done = launcher.run(str(script))
    assert (done.returncode, done.stderr) == (126, f"tunflow: {script}: No such file or directory\n")


def test_standard_streams(launcher: Launcher) -> None:
    done = launcher.run("sh", "-c", "cat; echo problem >&2", text="payload")
    assert (done.stdout, done.stderr) == ("payload", "problem\n")


def test_uid_and_capabilities(launcher: Launcher) -> None:
    status = launcher.output("cat", "/proc/self/status")
    assert re.search(r"^Uid:((?:\s+\d+){4})$", status, re.M)[1].split() == [str(launcher.uid)] * 4  # type: ignore[index]
    assert re.search(r"^Gid:((?:\s+\d+){4})$", status, re.M)[1].split() == [str(launcher.uid)] * 4  # type: ignore[index]
    effective = re.search(r"^CapEff:\s+(\w+)$", status, re.M)[1]  # type: ignore[index]
    assert (int(effective, 16) == 0) != launcher.as_root


def test_root_stays_able_to_become_anybody(root: Launcher) -> None:
    assert root.output("setpriv", "--reuid", str(USER), "--clear-groups", "id", "-u") == f"{USER}\n"
    assert root.output("cat", "/proc/self/uid_map").split() == ["0", "0", "4294967295"]


def test_a_root_without_capabilities_uses_a_user_namespace(home: Path) -> None:
    caps = "-sys_admin"
    command = Launcher(home, as_root=True).command("cat", "/proc/self/uid_map")
    command[4] = command[4].replace("exec ", f"exec setpriv --bounding-set={caps} --inh-caps={caps} ", 1)
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout.split(), done.stderr) == (["0", "0", "1"], "")


def test_there_is_no_device_but_the_loopback_and_the_tunnel(launcher: Launcher) -> None:
    devices = launcher.output("cat", "/proc/net/dev").splitlines()[2:]
    assert [line.split(":")[0].strip() for line in devices] == ["lo", "tunflow0"]
    assert sorted(launcher.output("ls", "/sys/class/net").split()) == ["lo", "tunflow0"]


def test_addresses_and_routes(launcher: Launcher) -> None:
    route4 = [line.split() for line in launcher.output("cat", "/proc/net/route").splitlines()[1:]]
    assert [(line[0], line[1], line[7]) for line in route4] == [
        ("tunflow0", "00000000", "00000000"),
        ("tunflow0", "000012C6", "FCFFFFFF"),
    ]
    route6 = [line.split() for line in launcher.output("cat", "/proc/net/ipv6_route").splitlines()]
    assert [line[-1] for line in route6 if line[:2] == ["0" * 32, "00"] and line[-1] != "lo"] == ["tunflow0"]
    address6 = [line.split() for line in launcher.output("cat", "/proc/net/if_inet6").splitlines()]
    # Of the flags 80 is "permanent", 40 would be "tentative", 02 is "no duplicate address detection".
    assert sorted((line[5], line[0], line[4]) for line in address6) == [
        ("lo", "0" * 31 + "1", "80"),
        ("tunflow0", "fd74756e666c6f770000000000000001", "82"),
    ]


def test_an_ordinary_mtu_where_there_is_offload(launcher: Launcher) -> None:
    assert launcher.output("cat", "/sys/class/net/tunflow0/mtu") == "1500\n"


def test_the_loopback_works(launcher: Launcher) -> None:
    code = (
        "import socket; s = socket.create_server((host, 0), family=family);"
        "c = socket.create_connection(s.getsockname()[:2], 5); c.sendall(b'x'); print(s.accept()[0].recv(1))"
    )
    for host in ("127.0.0.1", "::1"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        setting = f"host = {host!r}; family = {int(family)}; "
        assert launcher.output(launcher.python, "-c", setting + code) == "b'x'\n"


def test_ping_needs_no_capability(user: Launcher) -> None:
    code = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP); print('open')"
    assert user.output(user.python, "-c", code) == "open\n"


def test_the_resolver_is_the_tunnel(launcher: Launcher) -> None:
    assert launcher.output("cat", "/etc/resolv.conf").startswith("nameserver 198.18.0.2\n")
    hosts = re.search(r"^hosts:(.*)$", launcher.output("cat", "/etc/nsswitch.conf"), re.M)
    assert hosts
    assert set(hosts[1].split()) <= {"files", "dns", "myhostname"}


def test_the_resolver_may_stay_the_hosts(home: Path) -> None:
    code = (
        "from tunflow.host.program.private_network import PrivateNetwork;"
        "from tunflow.host.program.program import Program;"
        "program = Program.start(['cat', '/etc/resolv.conf'], network=PrivateNetwork(), nameserver=None);"
        "program.release(); program.result()"
    )
    environment = {**os.environ, "PYTHONPATH": str(home)}
    seen = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True, timeout=30)
    assert seen.stdout == Path("/etc/resolv.conf").read_bytes()


_PRIVATE_ETC = """
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work
mount -t overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work overlay /etc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/systemd/resolve /run/nscd /run/avahi-daemon
touch /run/systemd/resolve/io.systemd.Resolve /run/nscd/socket /run/avahi-daemon/socket
rm -rf /etc/resolv.conf
"""


@pytest.mark.parametrize(
    "place",
    [
        "echo 'nameserver 127.0.0.53' > /etc/resolv.conf",
        "ln -s ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf;"
        "echo 'nameserver 127.0.0.53' > /run/systemd/resolve/stub-resolv.conf",
        "ln -s /run/resolvconf/resolv.conf /etc/resolv.conf; mkdir /run/resolvconf; touch /run/resolvconf/resolv.conf",
        "ln -s ../run/nowhere/resolv.conf /etc/resolv.conf",
        "ln -s ../run/systemd/resolve/nothing /etc/resolv.conf",
        "true",
    ],
    ids=["file", "systemd", "resolvconf", "dangling", "dangling in a hidden folder", "missing"],
)
def test_wherever_resolv_conf_is(launcher: Launcher, place: str) -> None:
    script = "cat /etc/resolv.conf; cat /etc/hostname > /dev/null"
    assert launcher.output("sh", "-c", script, prepare=_PRIVATE_ETC + place) == "nameserver 198.18.0.2\n"


def test_a_folder_in_the_place_of_resolv_conf_is_refused(launcher: Launcher) -> None:
    done = launcher.run("true", prepare=_PRIVATE_ETC + "mkdir /etc/resolv.conf")
    assert done.returncode == 2
    assert done.stderr == "tunflow: /etc/resolv.conf is a directory: make it a plain file\n"


def test_sockets_of_resolving_daemons_are_hidden(launcher: Launcher) -> None:
    found = launcher.output(
        "find", "/run/nscd", "/run/avahi-daemon", "/run/systemd/resolve", "-type", "f", prepare=_PRIVATE_ETC
    )
    assert found == ""


def test_ssh_accepts_the_system_snippets(user: Launcher) -> None:
    prepare = _PRIVATE_ETC + f"echo 'Compression yes' > /etc/ssh/ssh_config.d/x.conf; echo 'u:x:{USER}:' >> /etc/group;"
    prepare += f"echo 'u:x:{USER}:{USER}::/:/bin/sh' >> /etc/passwd"
    if shutil.which("ssh") is None:
        pytest.fail("there is no ssh: install openssh-client")
    assert "compression yes" in user.output("ssh", "-G", "host", prepare=prepare)


def test_cgroups_stay_in_view(launcher: Launcher) -> None:
    seen = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    inside = [line.split()[4] for line in launcher.output("cat", "/proc/self/mountinfo").splitlines()]
    assert {point for point in seen if point.startswith("/sys/")} <= set(inside)


def test_descriptors_mask_and_dispositions_are_the_callers(home: Path) -> None:
    code = (
        "import os; print(*os.listdir('/proc/self/fd'));"
        "print(*[line.split()[1] for line in open('/proc/self/status') if line.startswith(('SigBlk', 'SigIgn'))])"
    )
    read, write = os.pipe()

    def settings() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})

    done = subprocess.run(
        [sys.executable, home / "launch.py", sys.executable, "-SIc", code],
        env={"PYTHONPATH": str(home), "PATH": os.environ["PATH"]},
        pass_fds=(write,),
        preexec_fn=settings,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    os.close(read)
    os.close(write)
    fds, masks = done.stdout.splitlines()
    listing = 3 if write > 3 else 4
    assert sorted(map(int, fds.split())) == sorted({0, 1, 2, listing, write})
    blocked, ignored = (int(mask, 16) for mask in masks.split())
    assert blocked == _bits(signal.SIGUSR2)
    # Python itself, the program here, ignores SIGPIPE and SIGXFSZ.
    assert ignored == _bits(signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ)


def _bits(*numbers: int) -> int:
    return sum(1 << number - 1 for number in numbers)


def test_sigpipe_kills_as_it_should(launcher: Launcher) -> None:
    assert "SigIgn:\t0000000000000000" in launcher.output("cat", "/proc/self/status")


def test_working_directory_environment_umask_and_group(launcher: Launcher) -> None:
    prepare = "cd /usr/share; umask 027; MARK=seen; export MARK; echo $$"
    lines = launcher.output(
        "sh", "-c", "pwd; umask; echo $MARK; ps -o pgid= -p $$; ps -o pgid= -p $PPID", prepare=prepare
    )
    _, folder, umask, mark, group, parents_group = (line.strip() for line in lines.splitlines())
    assert (folder, umask, mark) == ("/usr/share", "0027", "seen")
    assert group == parents_group


def test_no_way_out_when_the_tunnel_is_killed(launcher: Launcher) -> None:
    script = "kill -9 $PPID; sleep 0.3; cat /proc/net/dev /proc/net/route; echo end"
    process = subprocess.Popen(launcher.command("sh", "-c", script), stdout=subprocess.PIPE, text=True)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert "lo:" in out
    assert "tunflow0" not in out
    assert out.endswith("end\n")


def test_the_device_node_is_missing_or_closed(launcher: Launcher, user: Launcher) -> None:
    done = launcher.run("true", prepare="mount -t tmpfs tmpfs /dev/net")
    assert done.returncode == 2
    assert re.fullmatch(r"tunflow: /dev/net/tun [^\n]*modprobe tun[^\n]*\n", done.stderr)
    done = user.run("true", prepare="chmod 600 /media/tun")
    assert done.returncode == 2
    assert re.fullmatch(r"tunflow: /dev/net/tun[^\n]*permission[^\n]*\n", done.stderr)


def test_no_user_namespaces(home: Path) -> None:
    # The limit set inside a user namespace counts there only. Its root, without capabilities, goes a user's way.
    inner = Launcher(home, as_root=True).command("true", prepare="echo 0 > /proc/sys/user/max_user_namespaces")
    inner[4] = inner[4].replace("exec ", "exec setpriv --bounding-set=-sys_admin ")
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", *inner[2:]], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2, done.stderr
    assert re.fullmatch(r"tunflow: User namespaces [^\n]*\(user.max_user_namespaces=0\)[^\n]+\n", done.stderr)


_SHARED = ["unshare", "--mount", "--propagation", "shared", "sh", "-c"]


def test_mounts_made_inside_do_not_show_outside(home: Path) -> None:
    inner = f"PYTHONPATH={home} {sys.executable} {home}/launch.py"
    script = f"cat /proc/self/mountinfo > {home}/before; {inner} true; cat /proc/self/mountinfo"
    done = subprocess.run([*_SHARED, script], capture_output=True, text=True, timeout=30, check=True)
    assert mounts(done.stdout) == mounts((home / "before").read_text())


def test_a_disk_that_is_mounted_meanwhile_shows_inside(home: Path) -> None:
    wait = "echo ready; read go; ls /mnt"
    script = f"""
        mkfifo {home}/go
        PYTHONPATH={home} {sys.executable} {home}/launch.py sh -c '{wait}' < {home}/go | while read line; do
            echo "$line"
            if test "$line" = ready; then mount -t tmpfs tmpfs /mnt; touch /mnt/disk; echo > {home}/go; fi
        done 4<> {home}/go
    """
    done = subprocess.run([*_SHARED, script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "ready\ndisk\n"


def mounts(mountinfo: str) -> list[str]:
    """What is mounted, but for the named network namespaces: labs that run at the same time come and go."""
    return [line for line in mountinfo.splitlines() if " /run/netns" not in line]


def test_nothing_is_left(launcher: Launcher, home: Path) -> None:
    mountinfo = Path("/proc/self/mountinfo")
    before = mounts(mountinfo.read_text())
    launcher.output("sleep", "0")
    launcher.run("true", prepare="mount -t tmpfs tmpfs /dev/net")
    assert mounts(mountinfo.read_text()) == before
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert f"{home}/launch.py" not in listing
    assert "tunflow0" not in Path("/proc/net/dev").read_text()


def test_start_is_cheap(launcher: Launcher) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    launcher.output("true")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"start and end of `true`: {used * 1000:.0f} ms of CPU")
    assert used < 0.25  # of the 0.4 s that `tunflow run -- true` may take, with the commands of the test's own shell
