"""A program of its own network: its namespace, mounts, signals and end."""
