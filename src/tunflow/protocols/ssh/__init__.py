"""SSH: channels of one connection to any SSH server (direct-tcpip)."""

from tunflow.protocols.contract import Carries, Protocol

PROTOCOL = Protocol(
    name="ssh",
    schemes=("ssh",),
    carries=Carries.STREAMS | Carries.NAMES,
    link_shape="ssh://[USER[:PASSWORD]@]HOST[:PORT]",
    summary="any SSH server that forwards ports, TCP only; by key, agent or password",
    module="tunflow.protocols.ssh.settings",
    clash=frozenset({"ssh"}),
)
