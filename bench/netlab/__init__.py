"""Two hosts in network namespaces and the real programs on them; shared by `bench` and `tests/lab`."""
