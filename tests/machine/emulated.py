"""The emulated machine: qemu without hardware's help, no network card, and an agent inside that runs commands."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.machine.image import Image

CONSOLE_LINES = 60
ICOUNT = "shift=3,sleep=on"
"""Its clock counts instructions (8 ns each) while it computes: on a busy machine its time passes slower."""
CPU = "max,la57=off,smap=off,smep=off,erms=off"
"""Without what costs the emulator more than what the kernel does instead, such as strings byte by byte."""
BOOT_PATIENCE = 900.0
"""Seconds until the agent answers, by `Machine.clock`: some 25 on an idle machine."""

SLACK = 600.0
"""Seconds by `Machine.clock` that an answer may take beside its time-out, which the emulated one's own clock counts."""

LOOK = 5.0
"""Seconds between two looks at that clock while nothing comes."""

SPENT: list[float] = []
"""Seconds of this machine's processors that each emulated one took, once it is switched off."""


class MachineError(Exception):
    """The emulated machine did not do what every test needs of it."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str


class Machine:
    """One machine from power on to power off. What it writes to its disk is forgotten at the end, not by a reboot."""

    def __init__(self, image: Image, payload: Path, directory: Path) -> None:
        """`directory`: for its sockets and its console's log."""
        self._image = image
        self._payload = payload
        self._sockets = Path(tempfile.mkdtemp(prefix="machine-"))  # a socket's path is short
        self.console = directory / "console.log"
        self._held = b""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Machine:
        path = self._sockets / "agent"
        self._process = subprocess.Popen(self._argv(path), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self._port = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        end = self.clock() + 30
        while True:
            try:
                self._port.connect(str(path))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                if self._process.poll() is not None or self.clock() > end:
                    assert self._process.stderr is not None
                    self._process.kill()
                    raise MachineError(f"qemu: {self._process.stderr.read().decode()}") from None
                time.sleep(0.05)
        try:
            self.boot_id = self._hello()
        except BaseException:
            self._switch_off()
            raise
        return self

    def _switch_off(self) -> None:
        assert self._process is not None
        self._port.close()
        with contextlib.suppress(OSError):
            spent = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
            SPENT.append((int(spent[11]) + int(spent[12])) / os.sysconf("SC_CLK_TCK"))
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._switch_off()

    def _argv(self, agent: Path) -> list[str]:
        disks = [(self._image.disk, "on"), (self._payload, "on")]
        argv = ["qemu-system-x86_64", "-accel", "tcg", "-icount", ICOUNT, "-cpu", CPU, "-smp", "1", "-m", "1024"]
        argv += ["-nodefaults", "-no-user-config", "-display", "none", "-nic", "none", "-rtc", "base=utc,clock=host"]
        argv += ["-kernel", str(self._image.kernel), "-initrd", str(self._image.initrd)]
        argv += [
            "-append",
            "root=/dev/vda rw console=ttyS0 quiet systemd.show_status=no mitigations=off random.trust_cpu=on",
        ]
        argv += ["-serial", f"file:{self.console}", "-device", "virtio-serial", "-device", "virtio-rng-pci"]
        argv += ["-chardev", f"socket,id=agent,path={agent},server=on,wait=off"]
        argv += ["-device", "virtserialport,chardev=agent,name=tunflow.agent"]
        for disk, snapshot in disks:
            argv += ["-drive", f"file={disk},format=raw,if=virtio,snapshot={snapshot},cache=unsafe"]
        return argv if os.getpriority(os.PRIO_PROCESS, 0) >= 10 else ["nice", "-n", "10", *argv]

    def clock(self) -> float:
        """Seconds that pass as this machine's do, less those in which it kept the emulator waiting for a processor."""
        assert self._process is not None
        waited = 0
        for path in Path(f"/proc/{self._process.pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):  # that thread ended
                waited = max(waited, int(path.read_text().split()[1]))
        return time.monotonic() - waited / 1e9

    def run(self, *argv: str, timeout: float = 120.0, stdin: str | None = None) -> Done:
        """Run a command inside, as root. Raises MachineError if the machine does not answer."""
        order = {"argv": argv, "timeout": timeout, "input": stdin}
        self._port.sendall(json.dumps(order).encode() + b"\n")
        answer = self._answer(timeout + SLACK)
        return Done(answer["status"], answer["out"], answer["err"])

    def ok(self, *argv: str, timeout: float = 120.0, stdin: str | None = None) -> str:
        """What a command prints that succeeds."""
        done = self.run(*argv, timeout=timeout, stdin=stdin)
        assert done.status == 0, f"{' '.join(argv)}: {done.status}\n{done.out}\n{done.err}"
        return done.out

    def sh(self, script: str, timeout: float = 120.0) -> str:
        """What a shell script prints that succeeds."""
        return self.ok("sh", "-ec", script, timeout=timeout)

    def until(self, script: str, wanted: str = "", timeout: float = 90.0) -> str:
        """Run a shell script inside until it succeeds and prints `wanted`; what it printed. `timeout` is by `clock`."""
        end = self.clock() + timeout
        while True:
            done = self.run("sh", "-ec", script)
            if done.status == 0 and wanted in done.out:
                return done.out
            if self.clock() > end:
                raise AssertionError(f"after {timeout:.0f} s: {script}: {done.status}\n{done.out}\n{done.err}")
            time.sleep(0.3)

    def write(self, path: str, text: str, mode: str = "600") -> None:
        """Make a file inside, with the folders above it."""
        script = 'mkdir -p "$(dirname "$1")"; cat >"$1"; chmod "$2" "$1"'
        self.ok("sh", "-ec", script, "sh", path, mode, stdin=text)

    def reboot(self) -> None:
        """Restart it in good order, and wait until it answers."""
        self.run("systemctl", "--no-block", "reboot")
        before = self.boot_id
        self.boot_id = self._hello()
        assert self.boot_id != before

    def journal(self, *arguments: str) -> str:
        """Its journal since it was started last."""
        return self.ok("journalctl", "-b", "--no-pager", "-o", "short-monotonic", *arguments)

    def _hello(self) -> str:
        answer = self._answer(BOOT_PATIENCE)
        return str(answer["boot"])

    def _answer(self, timeout: float) -> dict[str, str | int]:
        end = self.clock() + timeout
        while b"\n" not in self._held:
            if not select.select([self._port], [], [], LOOK)[0]:
                if self.clock() > end:
                    raise MachineError(f"no answer for {timeout:.0f} s; its console:\n{self._console_end()}")
                continue
            data = self._port.recv(1 << 20)
            if not data:
                raise MachineError(f"it is gone; its console:\n{self._console_end()}")
            self._held += data
        line, _, self._held = self._held.partition(b"\n")
        return json.loads(line)

    def _console_end(self) -> str:
        with contextlib.suppress(OSError):
            return "\n".join(self.console.read_text(errors="replace").splitlines()[-CONSOLE_LINES:])
        return ""
