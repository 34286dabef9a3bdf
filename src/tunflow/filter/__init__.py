"""Content inspection without I/O: what a flow's first bytes tell. Import from the modules."""
