"""The event loop on epoll, sockets and threads: what waits, and nothing that decides."""
