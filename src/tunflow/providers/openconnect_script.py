"""What `openconnect --script-tun` starts: it hands the packets' socket and its environment to the provider, and ends.

Run as `python -IS openconnect_script.py FD`: nothing but the standard library, so that it starts at once.
"""

import array
import json
import os
import socket
import sys

NAMES = ("INTERNAL_", "CISCO_", "VPNGATEWAY")


def main() -> None:
    """Hand them over."""
    told = {name: text for name, text in os.environ.items() if name.startswith(NAMES)}
    with socket.socket(fileno=int(sys.argv[1])) as provider:
        provider.sendmsg(
            [json.dumps(told).encode()],
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [int(os.environ["VPNFD"])]))],
        )


if __name__ == "__main__":
    main()
