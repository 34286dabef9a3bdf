"""The only place with sockets and a clock: the loop, the driver of the machines, dialers and relays."""
