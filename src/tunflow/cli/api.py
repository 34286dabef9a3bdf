"""The API of a command that carries flows: `--api`, or `[api]` of the profile."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tunflow.errors import LocalError

if TYPE_CHECKING:
    from tunflow.api.server import APIServer
    from tunflow.loop.reactor import Reactor
    from tunflow.tunnel.plan import Plan

API_SECRET_VARIABLE = "TUNFLOW_API_SECRET"  # noqa: S105 - the variable's name


def api_for(address: str | None, plan: Plan | None, reactor: Reactor, secret: str | None = None) -> APIServer | None:
    """Return the API that `--api` or the plan's profile asks for, listening; None for none. Raises LocalError.

    `secret` comes before the environment's and the profile's.
    """
    section = None if plan is None else plan.api
    if address is None and (section is None or section.listen is None):
        return None
    try:
        from tunflow.api.server import APIServer, ListenAt  # noqa: PLC0415 - for who asks for it
    except ModuleNotFoundError as error:
        raise LocalError(f"the API needs {error.name}: pip install 'tunflow[ui]'") from None
    secret = secret or _secret_of(plan)
    if address is not None:
        origins, ui = (section.origins, section.ui) if section is not None else ((), None)
        try:
            at = ListenAt.of(address, secret, origins, ui)
        except LocalError as error:
            raise LocalError(f"--api: {error}") from None
    else:
        assert plan is not None
        assert section is not None
        assert section.listen is not None
        try:
            at = ListenAt.of(section.listen, secret, section.origins, section.ui)
        except LocalError as error:
            raise LocalError(f"{plan.at('api', 'listen')}: {error}") from None
    if plan is not None and at.ui is not None and not Path(at.ui).is_dir():
        raise LocalError(f"{plan.at('api', 'ui')}: {at.ui} is no folder")
    return APIServer(at, reactor)


def profiles_for_page(address: str | None, plan: Plan, secret: str | None = None) -> dict[str, Path]:
    """Return the profiles that the page may have the tunnel use, by name: those that are saved now, and the plan's.

    None without an API that has a secret: who can read them all is then everybody on this machine. Raises LocalError.
    """
    section = plan.api
    has_api = address is not None or (section is not None and section.listen is not None)
    if not has_api or not (secret or _secret_of(plan)):
        return {}
    from tunflow.profiles.store import ProfileStore  # noqa: PLC0415 - for who asks for it

    store = ProfileStore()
    found = {name: store.find(name) for name in store.names()}
    if plan.file and Path(plan.file) not in found.values():
        found[Path(plan.file).stem] = Path(plan.file)
    return found


def _secret_of(plan: Plan | None) -> str | None:
    section = None if plan is None else plan.api
    return os.environ.get(API_SECRET_VARIABLE) or (section.secret if section is not None else None)
