"""`[api]`: HTTP for dashboards (docs/dashboards.md)."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from tunflow.profiles.section import Many, Section


class APISection(Section):
    """Where the API is, and who may use it."""

    listen: str | None = None
    """ADDRESS:PORT, like 127.0.0.1:9090; None for no API."""
    secret: str | None = Field(default=None, min_length=1, repr=False)
    """What everybody must show; needed where others than this machine can connect."""
    ui: Path | None = None
    """A folder with another dashboard's files, served at /ui/ in place of tunflow's page."""
    origins: Many[str] = ()
    """Web origins whose pages may use the API, like https://dashboard.example."""
