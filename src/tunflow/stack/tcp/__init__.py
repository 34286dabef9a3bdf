"""TCP (RFC 9293), both sides of it: mostly a client behind the device opens a connection, sometimes the stack does.

`state` is the table of legal states. A `connection` holds its parts: `opening`, `sender` and `receiver`, which own one
direction each, `transmission` with the timers, and `output`, which builds what leaves from a `header`. `arrival` takes
segments in; `closing` says what follows the end.
"""
