"""`connect.py HOST PORT [SECONDS]`: how a connection attempt ends: "open", "timeout" or the name of the error."""

from __future__ import annotations

import errno
import socket
import sys

try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float((*sys.argv, "10")[3])).close()
    print("open")
except TimeoutError as error:
    print(errno.errorcode[error.errno] if error.errno else "timeout")
except OSError as error:
    print(errno.errorcode.get(error.errno or 0, repr(error)))
