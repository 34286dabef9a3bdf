"""How names are answered in a system-wide tunnel: by the small forwarder or by the full name server."""

from __future__ import annotations

from tunflow.cli.dns_modes import dialers, dns_config, name_server
from tunflow.cli.flows import name_service
from tunflow.dataplane.driver import Driver
from tunflow.dataplane.rule_policy import RulePolicy
from tunflow.dns.config import DNSConfig
from tunflow.tunnel.plan import Names, Plan


def parse_dns(mode: str) -> Names:
    """What a mode means, of either kind. Raises LocalError."""
    return dns_config(mode) or name_service(mode)


def serve_names(driver: Driver, plan: Plan) -> None:
    """Have a driver's names answered as a plan says, also in place of what answered them. Raises LocalError."""
    before, config = driver.name_server, plan.names
    find = driver.policy.dialer if isinstance(driver.policy, RulePolicy) else None
    if not isinstance(config, DNSConfig):
        driver.name_server = None
        if before is not None:
            before.close()
    elif before is None:
        driver.name_server = name_server(driver, config, find)
    else:
        before.reconfigure(config, dialers(driver, find))
