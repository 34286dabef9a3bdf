"""Whether a profile would come up, as far as that can be told without the network."""

from __future__ import annotations

from collections.abc import Callable

from tunflow.profiles.profile import Profile
from tunflow.rules.groups import Health
from tunflow.rules.syntax import MissingData
from tunflow.rules.targets import PROXY
from tunflow.tunnel.plan import ParseDNS, make_plan
from tunflow.tunnel.routing import default_verdict, make_groups, server_chains
from tunflow.tunnel.rule_lists import RuleLists


def check(profile: Profile, parse_dns: ParseDNS, tell: Callable[[str], None]) -> list[str]:
    """Compile a profile as `tunflow up` does; what must be fetched before it can come up.

    `tell` gets a line about each list with lines that are not understood. Raises LocalError for what is wrong in it.
    """
    lists = RuleLists(profile, tell, may_miss=True)
    missing = []
    try:
        plan = make_plan(profile, parse_dns, lists)
    except MissingData as error:
        missing.append(str(error))
    else:
        if plan.has_rules:
            chains = server_chains(profile)
            groups = make_groups(profile, chains, Health(lambda: 0.0))
            default_verdict(profile, PROXY in chains or PROXY in groups)
    return list(dict.fromkeys([*lists.missing, *missing]))
