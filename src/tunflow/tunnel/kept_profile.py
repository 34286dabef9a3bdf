"""The profile that a plan was made of, for the few who ask for more than the plan says."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunflow.profiles.profile import Profile


class KeptProfile:
    """A profile, which stays closed when it came from another process until somebody asks for it.

    To open it takes what checks profiles, in which a tunnel of servers and rules has no other part: 20 MiB.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile: Profile | None = profile
        self._closed = b""

    @property
    def profile(self) -> Profile:
        """As it was."""
        if self._profile is None:
            self._profile = pickle.loads(self._closed)  # noqa: S301 - made by `__getstate__`
        return self._profile

    def __getstate__(self) -> bytes:
        return self._closed or pickle.dumps(self._profile, pickle.HIGHEST_PROTOCOL)

    def __setstate__(self, state: bytes) -> None:
        self._profile, self._closed = None, state

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeptProfile) and self.profile == other.profile

    def __hash__(self) -> int:
        return hash(KeptProfile)
