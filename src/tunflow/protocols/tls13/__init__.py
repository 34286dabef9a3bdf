"""TLS 1.3 without I/O: its messages as values."""
