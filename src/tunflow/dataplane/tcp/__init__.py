"""TCP flows: a client's connection joined with a socket outside."""
