"""The kind of this installation: with the hot path compiled, or pure Python (hatch_build.py)."""

from __future__ import annotations

from importlib.util import find_spec


def build_kind() -> str:
    """Return "compiled" or "pure Python"."""
    spec = find_spec("tunflow.wire.checksum")
    return "pure Python" if spec is None or spec.origin is None or spec.origin.endswith(".py") else "compiled"
