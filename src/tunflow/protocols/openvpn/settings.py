"""An OpenVPN configuration as a frozen value: where the servers are, who we are, what the tunnel shall be."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tunflow.protocols.openvpn.data_key import DEFAULT_CIPHERS
from tunflow.protocols.openvpn.static_key import ClientKey, StaticKey
from tunflow.protocols.openvpn.tls import Demands, Identity
from tunflow.protocols.openvpn.tunnel_options import TunnelOptions

PORT = 1194


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that a server is reached through."""

    kind: str
    """`http` or `socks`."""
    host: str
    port: int
    username: str = ""
    """"" where it is not asked to sign in."""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Remote:
    """A place where a server is."""

    host: str
    port: int = PORT
    transport: str = "udp"
    """`udp` or `tcp`."""
    version: int = 0
    """The IP version it must be reached by; 0 for either."""
    proxy: Proxy | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ServerPart:
    """What only a server's configuration says."""

    network: str = ""
    """`10.8.0.0/24`."""
    listen: str = ""
    """The address to listen on; "" for any."""
    pushed: tuple[str, ...] = ()
    most_clients: int = 1024
    shares_names: bool = False
    """True if several clients may have one certificate (`duplicate-cn`)."""
    demands_certificate: bool = True


@dataclass(frozen=True, slots=True)
class OpenVPNSettings:
    """See the module. Seconds are float."""

    name: str
    remotes: tuple[Remote, ...] = ()
    remote_random: bool = False
    identity: Identity = field(default_factory=Identity, repr=False)
    demands: Demands = field(default_factory=Demands)
    tls_auth: StaticKey | None = None
    tls_crypt: StaticKey | None = None
    tls_crypt_v2: ClientKey | None = None
    tls_crypt_v2_server: StaticKey | None = None
    key_direction: int | None = None
    digest: str = "sha1"
    """Of tls-auth, and of data under CBC; by hashlib's name."""
    ciphers: tuple[str, ...] = DEFAULT_CIPHERS
    """That are offered, best first."""
    fallback: str = ""
    """The cipher where the server says none."""
    asks_user: bool = False
    """True if a username and password are needed."""
    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    """What a server gave in an earlier connection, to be said instead of the password (`auth-token`)."""
    token_user: str = ""
    """The name that goes with it, where that is another one."""
    static_challenge: str = ""
    static_challenge_echo: bool = False
    retries_auth: bool = False
    hand_window: float = 60.0
    connect_timeout: float = 0.0
    """Until the server first answers; 0: as the caller likes."""
    resend: float = 2.0
    reneg: float = 3600.0
    """0: never by ourselves."""
    tran_window: float = 3600.0
    retry: float = 1.0
    most_retries: int = 0
    """0: without end."""
    pull: bool = True
    pulls_routes: bool = True
    pull_filters: tuple[tuple[str, str], ...] = ()
    tunnel: TunnelOptions = field(default_factory=TunnelOptions)
    peer_info: tuple[tuple[str, str], ...] = ()
    """What is told the server beside the usual (`setenv UV_…`)."""
    server: ServerPart | None = None
    told: tuple[str, ...] = ()
    """What in the file changes nothing, by the line."""

    @property
    def label(self) -> str:
        """Where it leads, without secrets."""
        return str(self.remotes[0]) if self.remotes else self.name

    def with_user(self, username: str, password: str) -> OpenVPNSettings:
        """The same for this user."""
        return replace(self, username=username, password=password)

    def with_token(self, token: str, user: str) -> OpenVPNSettings:
        """The same with what a server gave instead of the password; "" for none."""
        return replace(self, token=token, token_user=user)

    def with_key_password(self, password: str) -> OpenVPNSettings:
        """The same with the password of its private key."""
        return replace(self, identity=replace(self.identity, password=password))
