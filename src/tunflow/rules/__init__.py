"""Policy without I/O: address and domain sets, rule syntax, verdicts, groups. Import from the modules."""
