"""How names are answered in a system-wide tunnel: by the small forwarder or by the full name server."""

from __future__ import annotations

from tunflow.cli.dns_modes import Place, dialers, dns_config, name_server
from tunflow.cli.flows import name_service
from tunflow.dataplane.driver import Driver
from tunflow.dataplane.forwarded_names import ForwardedNames
from tunflow.dataplane.rule_policy import RulePolicy
from tunflow.dataplane.served_names import ServedNames
from tunflow.dns.config import DNSConfig
from tunflow.tunnel.plan import Names, Plan


def parse_dns(mode: str) -> Names:
    """What a mode means, of either kind. Raises LocalError."""
    return dns_config(mode) or name_service(mode)


def serve_names(driver: Driver, plan: Plan) -> None:
    """Have a driver's names answered as a plan says, also in place of what answered them. Raises LocalError."""
    context, admission, config = driver.context, driver.admission, plan.names
    find = admission.policy.dialer if isinstance(admission.policy, RulePolicy) else None
    place = Place(context.reactor, admission.dialer, context.sockets, context.log)
    if not isinstance(config, DNSConfig):
        admission.use_names(None if config is None else ForwardedNames(context, admission.dialer, config))
    elif isinstance(admission.names, ServedNames):
        admission.names.server.reconfigure(config, dialers(place, find))
    else:
        admission.use_names(ServedNames(name_server(place, config, find)))
