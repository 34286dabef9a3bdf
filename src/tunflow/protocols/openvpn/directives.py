"""Every directive of an OpenVPN configuration that this end knows, and what becomes of it.

DONE is done; TOLD changes nothing here and is said once; REFUSED is an error, because without it the tunnel would be
another one than its author means, or because it runs programs. Read first: openvpn(8).
"""

from __future__ import annotations

from typing import NamedTuple

from tunflow.protocols.openvpn.tunnel_options import Fate


class Directive(NamedTuple):
    """A directive's fate, how many words it takes, and for a refused one why."""

    fate: Fate
    least: int = 0
    most: int = 99
    note: str = ""


_DONE = {
    "client": (0, 0), "tls-client": (0, 0), "pull": (0, 0), "dev": (1, 1), "dev-type": (1, 1), "proto": (1, 1),
    "port": (1, 1), "rport": (1, 1), "remote": (1, 3), "remote-random": (0, 0), "connect-timeout": (1, 1),
    "server-poll-timeout": (1, 1), "connect-retry": (1, 2), "connect-retry-max": (1, 1), "hand-window": (1, 1),
    "tls-timeout": (1, 1), "tran-window": (1, 1), "reneg-sec": (1, 2), "ca": (1, 1), "cert": (1, 1), "extra-certs":
    (1, 1), "key": (1, 1), "pkcs12": (1, 1), "crl-verify": (1, 1), "askpass": (0, 1), "auth-user-pass": (0, 1),
    "auth-retry": (1, 1), "static-challenge": (2, 3), "tls-auth": (1, 2), "tls-crypt": (1, 1), "tls-crypt-v2": (1,
    1), "key-direction": (1, 1), "auth": (1, 1), "cipher": (1, 1), "data-ciphers": (1, 1), "ncp-ciphers": (1, 1),
    "data-ciphers-fallback": (1, 1), "tls-version-min": (1, 2), "tls-cipher": (1, 1), "tls-ciphersuites": (1, 1),
    "remote-cert-tls": (1, 1), "verify-x509-name": (1, 2), "peer-fingerprint": (1, 1), "pull-filter": (2, 2),
    "setenv": (1, 99), "setenv-safe": (1, 2), "push-peer-info": (0, 0), "ignore-unknown-option": (1, 99),
    "topology": (1, 1), "ifconfig": (2, 2), "ifconfig-ipv6": (1, 2), "route": (1, 4), "route-ipv6": (1, 3),
    "route-nopull": (0, 0), "redirect-gateway": (0, 9), "dhcp-option": (1, 3), "dns": (2, 99), "tun-mtu": (1, 2),
    "ping": (1, 1), "ping-restart": (1, 1), "ping-exit": (1, 1), "keepalive": (2, 2), "inactive": (1, 2),
    "explicit-exit-notify": (0, 1), "compress": (0, 1), "comp-lzo": (0, 1), "tls-exit": (0, 0), "resolv-retry": (1,
    1), "tls-server": (0, 0), "server": (2, 3), "mode": (1, 1), "push": (1, 1), "local": (1, 2), "lport": (1, 1),
    "max-clients": (1, 1), "duplicate-cn": (0, 0), "verify-client-cert": (1, 1), "http-proxy": (2, 4), "socks-proxy":
    (1, 3), "http-proxy-user-pass": (1, 1), "socks-proxy-user-pass": (1, 1),
}  # fmt: skip
_TOLD = (
    "nobind", "bind", "persist-key", "persist-tun", "persist-local-ip", "persist-remote-ip", "user", "group",
    "daemon", "log", "log-append", "verb", "mute", "status", "status-version", "writepid", "float", "fast-io",
    "txqueuelen", "sndbuf", "rcvbuf", "mute-replay-warnings", "auth-nocache", "nice", "mlock", "mssfix", "mtu-disc",
    "mtu-test", "replay-window", "tls-mtu", "route-metric", "route-delay", "route-method", "route-gateway",
    "tap-sleep", "ip-win32", "block-outside-dns", "block-ipv6", "register-dns", "dhcp-renew", "windows-driver",
    "disable-dco", "machine-readable-output", "suppress-timestamps", "show-net-up", "pause-exit", "service",
    "allow-recursive-routing", "socket-flags", "remap-usr1", "dh", "ecdh-curve", "tls-groups", "tls-cert-profile",
    "max-routes", "mark", "passtos", "multihome", "ifconfig-pool-persist", "ifconfig-nowarn", "client-to-client",
    "bind-dev", "remote-random-hostname", "tls-version-max", "compat-mode", "allow-compression", "tcp-nodelay",
    "http-proxy-retry", "http-proxy-timeout", "socks-proxy-retry",
)  # fmt: skip
_RUNS = "it runs a program or loads a library, which tunflow never does for a configuration: take the line out"
_RUNNERS = (
    "up", "down", "up-delay", "up-restart", "down-pre", "route-up", "route-pre-down", "ipchange", "script-security",
    "plugin", "tls-verify", "auth-user-pass-verify", "client-connect", "client-disconnect", "client-crresponse",
    "learn-address", "tls-crypt-v2-verify", "iproute", "dns-updown", "tls-export-cert", "x509-track", "engine",
    "providers", "pkcs11-providers",
)  # fmt: skip
_REFUSED = {
    "secret": "static keys without TLS have no forward secrecy: use a TLS configuration",
    "http-proxy-option": "not done: a request has no headers of its own",
    "fragment": "not done: leave it out at both ends; tunflow's MTU makes packets fit",
    "no-replay": "replays are always dropped",
    "no-iv": "every packet has its IV",
    "key-method": "only key method 2 exists any more",
    "ns-cert-type": "use remote-cert-tls server",
    "cryptoapicert": "use cert and key, or pkcs12",
    "management": "tunflow has no management interface: see tunflow status",
    "management-client": "tunflow has no management interface: see tunflow status",
    "management-hold": "tunflow has no management interface: take the line out",
    "management-query-passwords": "tunflow asks on the terminal: take the line out",
    "management-external-key": "use cert and key, or pkcs12",
    "config": "one file is read, and no other",
    "cd": "paths start where the configuration is",
    "chroot": "tunflow lets go of root in its own way: take the line out",
    "server-bridge": "tap devices carry Ethernet, tunflow carries IP: use dev tun",
    "server-ipv6": "tunflow's server is for IPv4",
    "client-config-dir": "tunflow's server treats all clients alike",
    "ccd-exclusive": "tunflow's server treats all clients alike",
    "remote-cert-ku": "use remote-cert-tls",
    "remote-cert-eku": "use remote-cert-tls",
    "x509-username-field": "names are common names",
    "client-nat": "not done",
    "pkcs11-id": "use cert and key, or pkcs12",
    "auth-gen-token": "not done",
}

DIRECTIVES: dict[str, Directive] = {
    **{name: Directive(Fate.DONE, least, most) for name, (least, most) in _DONE.items()},
    **{name: Directive(Fate.TOLD) for name in _TOLD},
    **{name: Directive(Fate.REFUSED, note=_RUNS) for name in _RUNNERS},
    **{name: Directive(Fate.REFUSED, note=note) for name, note in _REFUSED.items()},
}

INLINE = frozenset({
    "ca", "cert", "extra-certs", "key", "pkcs12", "crl-verify", "tls-auth", "tls-crypt", "tls-crypt-v2",
    "auth-user-pass", "peer-fingerprint", "connection", "dh", "askpass", "http-proxy-user-pass",
    "socks-proxy-user-pass",
})  # fmt: skip
"""Directives that may be a block `<name> … </name>`."""

CONNECTION = frozenset({
    "remote", "port", "rport", "proto", "connect-timeout", "server-poll-timeout", "explicit-exit-notify", "nobind",
    "bind", "lport", "local", "float", "mssfix", "tun-mtu", "connect-retry", "connect-retry-max", "http-proxy",
    "socks-proxy", "http-proxy-user-pass",
})  # fmt: skip
"""What a `<connection>` block may say."""
