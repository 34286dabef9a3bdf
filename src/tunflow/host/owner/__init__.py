"""Which program a flow belongs to."""
