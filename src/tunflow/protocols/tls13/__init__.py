"""A client of TLS 1.3 without I/O, for what Python's ssl cannot say: fields of the greeting, and whom to believe.

Read first: RFC 8446. There is no resumption, no early data, no client certificate, and no older version.
"""
