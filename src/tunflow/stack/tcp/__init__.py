"""TCP (RFC 9293), the passive side: one connection per flow that a client behind the device opens.

`state` is the table of legal states, `sender` and `receiver` own one direction each, `connection` ties them to the
segments that arrive and the timers, `header` builds what leaves.
"""
