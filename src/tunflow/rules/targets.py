"""Targets of rules that need no server, and the name of a profile's default servers."""

from __future__ import annotations

DIRECT, REJECT, REJECT_DROP, PROXY = "DIRECT", "REJECT", "REJECT-DROP", "PROXY"
BUILT_IN = (DIRECT, REJECT, REJECT_DROP)
