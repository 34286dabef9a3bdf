"""A profile made into a running tunnel: compiled, assembled, started, changed, explained and stopped."""
