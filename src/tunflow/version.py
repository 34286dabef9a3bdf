"""Which tunflow this is."""

__version__ = "0.1.0"
"""As pyproject.toml has it."""
