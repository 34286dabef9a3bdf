"""The daemon's local socket: who may speak to it, and the messages that pass."""
