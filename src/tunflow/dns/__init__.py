"""Names without I/O: messages, the cache, fake addresses, and who is asked and believed."""
