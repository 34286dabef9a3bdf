"""Whose filter `tunflow filter` is about, when nobody says."""

from __future__ import annotations

from tunflow.control.client import NotRunning, Unanswered, ask
from tunflow.errors import LocalError
from tunflow.host.runtime import RuntimeDirectory
from tunflow.profiles.store import ProfileStore


def profile_in_use(store: ProfileStore | None = None) -> str:
    """The profile of the tunnel that is up; without one, the only saved profile that has a filter.

    Raises LocalError that says what there is to choose from.
    """
    running = _of_running_tunnel()
    if running is not None:
        return running
    store = ProfileStore() if store is None else store
    names = [name for name in store.names() if _has_filter(store, name)]
    if len(names) == 1:
        return names[0]
    found = f"profiles with a [filter]: {', '.join(names)}" if names else "no saved profile has a [filter]"
    raise LocalError(f"which filter? say a PROFILE: no tunnel is up with one, and {found}")


def _of_running_tunnel() -> str | None:
    try:
        profile = ask(RuntimeDirectory.running().control, "status")["profile"]
    except (NotRunning, Unanswered):
        return None
    return profile if isinstance(profile, str) else None


def _has_filter(store: ProfileStore, name: str) -> bool:
    try:
        return store.load(name).filter is not None
    except LocalError:
        return False  # it cannot be meant, and whoever uses it is told what is wrong
