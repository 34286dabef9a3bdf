"""`tunflow rules update`: fetch countries' addresses and rule sets."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from tunflow.cli.progress import bar
from tunflow.cli.stderr import say
from tunflow.errors import LocalError
from tunflow.profiles.store import load_profile
from tunflow.tunnel import known_names, rule_data, server_lists
from tunflow.tunnel.rule_update import (
    REGISTRIES,
    UpdateOutcome,
    geo_sources,
    registries_of,
    registry_source,
    rule_set_sources,
    update,
)


def rules(options: argparse.Namespace) -> int:
    """Fetch; 0 when every list is there and current, 1 when one failed. Raises LocalError."""
    profile = load_profile(options.profile, say) if options.profile is not None else None
    needed = registries_of(profile) if profile is not None else []
    given = [options.registry] if options.registry else needed or ["apnic"]
    registries = list(REGISTRIES) if given == ["all"] else given
    if options.url and len(registries) > 1:
        raise LocalError("--url is one registry's: name it with --registry")
    sources = [registry_source(name, options.url) for name in registries]
    if profile is not None:
        sources += (
            rule_set_sources(profile)
            + server_lists.sources(profile)
            + geo_sources(profile)
            + known_names.sources(profile)
        )
    place = rule_data.directories()[0]
    with bar(quiet=False) as show:
        outcomes = update(sources, place, force=options.force, show=show)
    if options.json:
        print(json.dumps({"directory": str(place), "lists": [asdict(each) for each in outcomes]}, indent=2))  # noqa: T201
    else:
        for each in outcomes:
            print(_told(each))  # noqa: T201
    return 1 if any(each.state == "failed" for each in outcomes) else 0


def _told(outcome: UpdateOutcome) -> str:
    if outcome.state == "failed":
        return f"{outcome.name}: failed: {outcome.reason}; what was there before is kept"
    entries = f"{outcome.count:,} entries" if outcome.count is not None else "unknown"
    return f"{outcome.name}: {outcome.state}, {entries}"
