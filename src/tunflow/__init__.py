"""A whole machine's or one program's traffic through a tunnel of your choice."""

__version__ = "0.1.0"
