"""Keeps a tunnel's process alive: the parent, which keeps root's rights and never reads a packet.

It forks the process that serves the tunnel, answers what that asks of the host (`host.network.helper`), and waits.

- When that process dies, or is silent for `SILENCE` (a beat comes with a timer of its loop, so idle is not silent),
  what the host has stays as it is: the device and the routes into it are this process's too, so what the host sends
  waits or is lost, and nothing goes around. Another is forked after a pause, and applies its settings anew.
- What was never up is not started again: whoever waits for it is told why it is not.
- A process that finds no server is followed by others without end; else `Restarts` says when to give up. Then the
  profile decides: with a kill switch everything stays closed, without one the host is put back.
- SIGTERM, SIGINT and SIGHUP are for the process that serves; if it does not end, it is killed, and the host put back.
- systemd hears of all that (sd_notify(3)), and its watchdog is fed while this loop goes round.

Read first: `host.supervised_process`, poll(2).
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tunflow.errors import BadPacket, LocalError
from tunflow.host.network.helper import HelperService, receive
from tunflow.host.restart_memory import EarlierRestarts, RestartMemory
from tunflow.host.restarts import Restarts
from tunflow.host.service_manager import ServiceManager
from tunflow.host.supervised_process import EndSignals, SupervisedProcess, SupervisorLink

SILENCE_VARIABLE = "TUNFLOW_WATCHDOG_SECONDS"
SILENCE = 30.0
"""Seconds without a beat after which a process is taken to hang; the variable says otherwise."""

START_PATIENCE = 90.0
"""Seconds until the first beat: rules by the ten thousand are read before there is a loop."""

STOP_PATIENCE = 6.0
"""Seconds without a sign of life after which a process that was told to end is killed."""


def silence() -> float:
    """Seconds of silence that are allowed. Raises LocalError for a variable that is no such number."""
    text = os.environ.get(SILENCE_VARIABLE, "")
    if not text:
        return SILENCE
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 3600:
        raise LocalError(f"{SILENCE_VARIABLE}={text}: expected whole seconds, 1 to 3600")
    return float(text)


class Supervisor:
    """Of one tunnel. Makes and forks nothing before `run`."""

    def __init__(
        self,
        service: HelperService,
        record: Path,
        memory: RestartMemory,
        say: Callable[[str], None],
        ready: Callable[[], None],
        gave_up: Callable[[str], None],
    ) -> None:
        """`record` is where `status` finds what this knows, `memory` what the supervisor before left. `ready` is called
        once it is up the first time, `gave_up` with a line that says why it will not be again. Raises LocalError."""
        self._service = service
        self._record = record
        self._say = say
        self._ready = ready
        self._gave_up = gave_up
        self._silence = silence()
        self._systemd = ServiceManager()
        self._restarts = Restarts()
        self._memory = memory
        self._earlier = EarlierRestarts()
        self._instructions: dict[str, Any] | None = None
        self._signals: EndSignals
        self._stopping = False
        """True if it was told to end."""

    def run(self, serve: Callable[[SupervisorLink], int]) -> int:
        """Fork processes that `serve` until one ends as it should; its exit status. In them this returns never."""

        def serve_only(link: SupervisorLink) -> int:
            self._service.close_copy()
            return serve(link)

        self._signals = EndSignals()
        self._forget()
        if self._systemd.is_there:
            self._earlier = self._memory.recall()
        else:  # a user's own start is no restart
            self._memory.forget()
        while True:
            child = SupervisedProcess.fork(self._link_of, serve_only, self._signals)
            self._attend(child)
            if child.is_final:
                self._forget()
                return self._end_with(child)
            if self._stopping:
                self._end()
                return 0
            if self._restarts.last_cause is None and not child.was_up:
                self._abandon()
                return _end_as(child.status)
            if not self._goes_on(child):
                return 1 if not self._stopping else 0

    def _link_of(self, helper: socket.socket, beats_fd: int) -> SupervisorLink:
        again = self._restarts.last_cause is not None
        return SupervisorLink(
            helper,
            os.getpid(),
            self._count + (1 if again else 0),
            self._last_cause,
            self._instructions,
            beats_fd,
            self._silence / 3,
            again,
        )

    @property
    def _count(self) -> int:
        return self._earlier.count + self._restarts.count

    @property
    def _last_cause(self) -> str | None:
        return self._restarts.last_cause or self._earlier.last_cause

    # While one lives.

    def _attend(self, child: SupervisedProcess) -> None:
        """Serve it until it has ended."""
        poll = select.poll()
        poll.register(child.pidfd, select.POLLIN)
        poll.register(child.beats_fd, select.POLLIN)
        poll.register(child.socket, select.POLLIN)
        poll.register(self._signals.fd, select.POLLIN)
        while True:
            happened = {fd for fd, _ in poll.poll(self._wait_for(child) * 1000)}
            self._systemd.feed()
            if self._signals.fd in happened and self._drain_signals():
                child.end(signal.SIGTERM)
            if child.beats_fd in happened:
                child.has_beaten()
            if child.socket.fileno() in happened and not self._serve(child):
                poll.unregister(child.socket)
            if child.pidfd in happened:
                break
            self._check(child)
        while not child.has_hung_up and _has_more(child.socket) and self._serve(child):
            pass  # what it said at last
        child.reap()

    def _wait_for(self, child: SupervisedProcess) -> float:
        due = [child.alive_at + self._patience_with(child), self._systemd.feed_at]
        return max(0.0, min(due) - time.monotonic())

    def _patience_with(self, child: SupervisedProcess) -> float:
        if child.is_ending:
            return STOP_PATIENCE
        return self._silence if child.beats else max(START_PATIENCE, self._silence)

    def _check(self, child: SupervisedProcess) -> None:
        """Kill what gives no sign of life."""
        if time.monotonic() - child.alive_at < self._patience_with(child):
            return
        if not child.is_ending:
            child.hung = f"did nothing for {self._patience_with(child):g} s and was killed"
        child.end(signal.SIGKILL)

    def _serve(self, child: SupervisedProcess) -> bool:
        """Answer a request. Return False when there will be no more."""
        try:
            request, _ = receive(child.socket)
            if "ready" in request:
                self._is_up(child)
            elif "remember" in request:
                self._instructions = request["remember"]
            elif "lost" in request:
                child.failure, child.is_ending = str(request["lost"]), True
                child.is_unreached = request.get("unreached") is True
            elif "leave" in request:
                self._take_leave(child, request)
            else:
                self._service.answer(child.socket, request)
        except (OSError, EOFError, BadPacket):
            child.has_hung_up = True
            return False
        except LocalError as error:
            self._say(str(error))
        child.alive_at = time.monotonic()
        return True

    def _is_up(self, child: SupervisedProcess) -> None:
        child.up_at = time.monotonic()
        try:
            self._service.is_up()
        finally:
            if self._restarts.last_cause is None:
                self._memory.keep(self._count)
                self._ready()
            else:
                self._restarts.came_up()
                self._memory.keep(self._count)
                self._say(f"the tunnel is up again (started again {self._count} times)")
                self._forget()
            self._systemd.tell("STATUS=up")
            self._systemd.tell("READY=1")

    def _take_leave(self, child: SupervisedProcess, request: dict[str, Any]) -> None:
        child.is_ending = True
        if self._service.is_holding and request.get("stopped") is not True:
            child.failure, child.is_unreached = request.get("failure"), request.get("unreached") is True
            return  # a start that failed: what is held stays held
        child.is_final, child.failure = True, request.get("failure")
        self._systemd.tell("STOPPING=1")
        self._service.is_holding = False
        stopped, settings = request.get("stopped") is True, self._service.settings
        stays_closed = not stopped and child.was_up and settings is not None and settings.kill_switch
        if not request["leave"] and not stays_closed:  # who failed to come up does not open what another had closed
            self._service.undo(keep_kill_switch=not stopped)

    # When one has died.

    def _end_with(self, child: SupervisedProcess) -> int:
        """The exit status after a process that ended the tunnel: 0, or a service manager starts another supervisor."""
        if child.status == 0:
            self._memory.forget()
            return 0
        if child.was_up:
            self._memory.keep(self._count, child.cause)
        return max(1, child.status)

    def _goes_on(self, child: SupervisedProcess) -> bool:
        """Return True if another is started, once it is time to."""
        self._service.hold()
        line = child.cause
        pause = self._restarts.unreached(line) if child.is_unreached else self._restarts.died(line, child.lived)
        if pause is None:
            self._give_up(line)
            return False
        self._say(f"{line}: traffic is held, and it is started again in {pause:g} s")
        self._write("reasserting")
        self._systemd.tell(f"STATUS=held: {line}")
        if self._is_told_to_stop(pause):
            self._end()
            return False
        return True

    def _is_told_to_stop(self, pause: float) -> bool:
        """Wait. Return True if a signal came meanwhile."""
        until = time.monotonic() + pause
        while (left := until - time.monotonic()) > 0:
            wait = min(left, max(0.0, self._systemd.feed_at - time.monotonic()))
            if select.select([self._signals.fd], [], [], wait)[0] and self._drain_signals():
                return True
            self._systemd.feed()
        return False

    def _abandon(self) -> None:
        """It died before it was up: undo what it had, but never open what a kill switch holds closed."""
        settings = self._service.settings
        if settings is not None and not settings.kill_switch:
            self._undo()

    def _give_up(self, cause: str) -> None:
        settings = self._service.settings
        line = f"the tunnel was lost {self._restarts.in_a_row} times in a row, at last because {cause}"
        if settings is not None and settings.kill_switch:
            line += "; everything stays closed (kill switch) until tunflow down or up"
        else:
            self._undo()
            line += "; the host is put back as it was"
        self._say(line)
        self._gave_up(line)
        self._memory.keep(self._count, line)
        self._write("disconnected")
        self._systemd.tell(f"STATUS={line}")

    def _end(self) -> None:
        """Somebody wants the tunnel down, and nobody serves it."""
        self._systemd.tell("STOPPING=1")
        self._undo()
        self._forget()
        self._memory.forget()

    def _undo(self) -> None:
        self._service.is_holding = False
        try:
            self._service.undo()
        except LocalError as error:
            self._say(str(error))

    def _write(self, status: str) -> None:
        """Say how it stands, for `status`: nobody listens on the control socket."""
        facts = {
            "status": status,
            "helper": os.getpid(),
            "restarts": self._count,
            "last_cause": self._last_cause,
        }
        new = self._record.with_name(self._record.name + ".new")
        with suppress(OSError):
            new.write_text(json.dumps(facts))
            new.rename(self._record)

    def _forget(self) -> None:
        with suppress(OSError):
            self._record.unlink()

    def _drain_signals(self) -> bool:
        """Return True if one of those came that mean the end."""
        self._stopping = self._signals.came() or self._stopping
        return self._stopping


def _end_as(status: int) -> int:
    """The exit status of a process; one that a signal ended is followed, so that whoever started us learns it."""
    if status < 0:
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def _has_more(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])
