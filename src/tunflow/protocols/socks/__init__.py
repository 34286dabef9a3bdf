"""SOCKS 4, 4a and 5, and what Tor adds to them: stream and datagram codecs; pure."""
