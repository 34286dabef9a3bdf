"""The host's side of a tunnel on macOS, behind the same interfaces as on Linux. Not run on a Mac yet."""
