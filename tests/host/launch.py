"""`tunflow run` without a stack, for the tests of the launcher: packets go nowhere. Run as a program."""

from __future__ import annotations

import select
import sys

from tunflow.errors import LocalError
from tunflow.host.fd import from_fd
from tunflow.host.program.exit_result import leave
from tunflow.host.program.private_network import PrivateNetwork
from tunflow.host.program.program import Program


def main(argv: list[str]) -> None:
    network = PrivateNetwork()
    try:
        program = Program.start(argv, network=network, nameserver=network.resolver4)
        device = from_fd(program.tun_fd, program.mtu)
        program.release()
    except LocalError as error:
        print(f"tunflow: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    waiting = select.epoll()
    waiting.register(program.exit_fd, select.EPOLLIN)
    waiting.register(device.fileno(), select.EPOLLIN)
    while not any(fd == program.exit_fd for fd, _ in waiting.poll()):
        device.read(64)
    leave(program.result())


if __name__ == "__main__":
    main(sys.argv[1:])
