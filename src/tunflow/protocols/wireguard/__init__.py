"""WireGuard without I/O: handshake, cookies, transport, timers, peers and their routes, and files that configure it."""
