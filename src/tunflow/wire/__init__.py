"""bytes <-> frozen header values, one file per protocol; no state, no I/O.

`parse_untrusted` gives a value that cannot be illegal, or raises BadPacket; `build` gives header bytes.
Payload is never copied: it stays in the pieces of a gather list.
"""
