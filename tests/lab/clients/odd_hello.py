"""`odd_hello.py ADDRESS NAME`: says hello to a TLS server at port 443 as nobody should (a warning in front, in records
of an odd version, one byte each) and prints whether the connection was reset, ended or answered."""

import socket
import ssl
import sys

ALARM = b"\x15\3\1\0\2\1\x5a"


def hello(name):
    out = ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.check_hostname = False
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        message = out.read()[5:]
    return b"".join(b"\x16\2\1\0\1" + message[at : at + 1] for at in range(len(message)))


address, name = sys.argv[1:]
with socket.create_connection((address, 443), 30) as stream:
    stream.settimeout(30)
    try:
        stream.sendall(ALARM + hello(name))
        print("answered" if stream.recv(1) else "ended")
    except ConnectionResetError:
        print("reset")
    except TimeoutError:
        print("silent")
