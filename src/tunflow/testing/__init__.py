"""Public fakes for tests of what is built on tunflow; nothing shipped imports this."""
