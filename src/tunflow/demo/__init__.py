"""The embedded default that `tunflow demo` shows: a site, a server in front of it, and a client that measures."""
