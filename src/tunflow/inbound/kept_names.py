"""Which names a local proxy port hands to nobody: those that no resolver outside can know (`dns.special_names`).

Why: a client of a proxy leaves names to it, and whoever gets them on the way learns what the name server of a tunnel
would never tell: the names of the LAN, and which .onion site somebody meant to visit (RFC 7686 §2).
"""

from __future__ import annotations

from collections.abc import Sequence

from tunflow.dns.answers import A
from tunflow.dns.special_names import stays_here
from tunflow.endpoint import Endpoint
from tunflow.errors import LocalError
from tunflow.outbound.chain import goes_direct
from tunflow.protocols.contract import Outbound
from tunflow.rules.domains import DomainSet, normalise

REASON = "a name that never leaves this machine, since nobody outside knows it; --ask-anyway names exceptions"


class KeptNames:
    """Those of a port in front of `dialer`. `asked` are names, and all below them, that it hands out all the same.

    Raises LocalError for what is no name.
    """

    def __init__(self, dialer: Outbound, asked: Sequence[str] = ()) -> None:
        self._asked = DomainSet(suffixes=map(_name, asked))
        self._is_direct = goes_direct(dialer)
        self._knows_onion = dialer.resolver is not None

    def __contains__(self, target: object) -> bool:
        """Return True if a target, an `Endpoint`, is a name that is kept."""
        if not isinstance(target, Endpoint) or not isinstance(target.host, str):
            return False
        try:
            name = normalise(target.host)
        except ValueError:
            name = target.host.lower()
        if name in self._asked:
            return False
        if name == "onion" or name.endswith(".onion"):
            return not self._knows_onion
        # Straight out, this machine's own resolver is asked, whose the names of its network are.
        return not self._is_direct and stays_here(name, A)


def _name(text: str) -> str:
    try:
        return normalise(text)
    except ValueError as error:
        raise LocalError(f"{text!r} is no name to ask for anyway: {error}") from None
