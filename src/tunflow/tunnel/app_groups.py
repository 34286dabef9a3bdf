"""The control groups by which `tunflow exec` says which programs use the tunnel, and which go around it.

They are made when the tunnel starts, with the rights that it then has, and removed by `down` where nobody is left in
them. Where the system has no unified hierarchy the tunnel works all the same, and `exec` says what is missing.
"""

from __future__ import annotations

from contextlib import suppress

from tunflow.errors import LocalError
from tunflow.host.owner.control_group import ControlGroup

APPS = "/tunflow/apps"
"""Who uses the tunnel where only some programs do."""
BYPASS = "/tunflow/bypass"
"""Who goes around it."""


class AppGroups:
    """Makes both groups; `missing` says why there are none."""

    def __init__(self) -> None:
        self.missing: str | None = None
        try:
            for path in (APPS, BYPASS):
                ControlGroup(path).create()
        except LocalError as error:
            self.missing = str(error)

    def require(self) -> None:
        """Raise LocalError where there are none."""
        if self.missing is not None:
            raise LocalError(self.missing)

    def remove(self) -> None:
        """Remove what nobody is in."""
        with suppress(LocalError):
            for path in (APPS, BYPASS, "/tunflow"):
                ControlGroup(path).remove()
