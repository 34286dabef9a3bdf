"""`camera.py ADDRESS PORT`: an RTSP server that answers OPTIONS (RFC 2326 §10.1), one connection after the other."""

import re
import socket
import sys

with socket.create_server((sys.argv[1], int(sys.argv[2]))) as listener:
    print("listening", flush=True)
    while True:
        stream, _ = listener.accept()
        with stream:
            request = b""
            while b"\r\n\r\n" not in request and (piece := stream.recv(4096)):
                request += piece
            number = re.search(rb"CSeq: *(\d+)", request)
            print(request.split(b"\r\n")[0].decode(errors="replace"), flush=True)
            if number is not None:
                stream.sendall(b"RTSP/1.0 200 OK\r\nCSeq: %b\r\nPublic: DESCRIBE, SETUP, PLAY\r\n\r\n" % number[1])
            stream.recv(4096)
