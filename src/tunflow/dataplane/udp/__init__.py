"""UDP flows: a client's sockets joined with sockets outside."""
