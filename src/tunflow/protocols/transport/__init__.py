"""Layers that any stream protocol may stand on; pure."""
