"""`[dns]`: how names are looked up."""

from __future__ import annotations

from tunflow.manager.section import Many, Section
from tunflow.manager.texts import Domain


class DNSSection(Section):
    """Resolvers, and who is asked for what."""

    mode: str = "tcp"
    """As `tunflow run --dns`."""
    match_domains: Many[Domain] = ()
    """The only domains that are looked up in the tunnel; empty for all."""
