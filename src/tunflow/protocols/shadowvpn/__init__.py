"""ShadowVPN: IP packets, each sealed by itself into one UDP datagram: wire format, ciphers, the server's users."""
