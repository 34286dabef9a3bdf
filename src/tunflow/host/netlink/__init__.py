"""The kernel's netlink families: links, routes, rules, sockets and neighbours, read and set."""
