"""What a system-wide tunnel changes on the host, and how it is taken back."""
