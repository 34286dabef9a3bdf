"""Checks that a profile would come up, as far as that can be told without the network."""

from __future__ import annotations

from collections.abc import Callable

from tunflow.profiles.profile import Profile
from tunflow.rules.syntax import MissingData
from tunflow.tunnel.compile import compile_profile
from tunflow.tunnel.rule_lists import RuleLists


def check(profile: Profile, tell: Callable[[str], None]) -> list[str]:
    """Compile a profile as `tunflow up` does; what must be fetched before it can come up.

    `tell` gets a line about each list with lines that are not understood. Raises LocalError for what is wrong in it.
    """
    lists = RuleLists(profile, tell, may_miss=True)
    missing = []
    try:
        compile_profile(profile, lists)
    except MissingData as error:
        missing.append(str(error))
    return list(dict.fromkeys([*lists.missing, *missing]))
