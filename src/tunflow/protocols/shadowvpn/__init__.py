"""ShadowVPN: IP packets sealed in datagrams, both ends."""

from tunflow.protocols.contract import Carries, Protocol


def looks_like(content: bytes) -> bool:
    """Return True if a file looks like the original program's: `key=value`, with its `mode` and `password`."""
    keys = {line.partition(b"=")[0].strip() for line in content.splitlines()}
    return {b"mode", b"password", b"server"} <= keys


PROTOCOL = Protocol(
    name="shadowvpn",
    schemes=("shadowvpn",),
    carries=Carries.PACKETS,
    link_shape="shadowvpn://PASSWORD@HOST:PORT?net=10.7.0.2/24",
    summary="ShadowVPN, a packet tunnel over UDP: all of IP",
    module="tunflow.protocols.shadowvpn.settings",
    looks_like=looks_like,
    serves=True,
)
