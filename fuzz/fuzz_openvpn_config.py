"""Any bytes as an OpenVPN configuration: settings, or LocalError in one line."""

from __future__ import annotations

from tunflow.errors import LocalError
from tunflow.protocols.openvpn.inline import with_files_inline
from tunflow.protocols.openvpn.settings_reader import settings_from_file

SEEDS = [
    b"client\ndev tun\nproto udp\nremote vpn.example.net 1194\nca ca.crt\ncert c.crt\nkey c.key\n"
    b"remote-cert-tls server\n"
    b"tls-auth ta.key 1\ncipher AES-256-CBC\nauth SHA256\nverb 3\nkeepalive 10 60\n",
    b"client\nremote a 1 tcp\n<connection>\nremote b\n</connection>\n<ca>\nx\n</ca>\n"
    b"auth-user-pass\nroute 10.0.0.0 255.0.0.0\n",
    b'server 10.8.0.0 255.255.255.0\npush "route 10.1.0.0 255.255.0.0"\nlocal 127.0.0.1\nport 1\n',
    b"setenv opt block-outside-dns\npull-filter ignore 'route 1'\nverify-x509-name \"C=x\\ y\"\n"
    b"peer-fingerprint 00:11\n",
]


def one_input(data: bytes) -> None:
    """Read it; what is understood can be kept with its files inside."""
    try:
        settings_from_file(data, "fuzz.ovpn", lambda _: b"x")
    except LocalError as error:
        if "\n" in str(error):
            raise AssertionError("an error of more than one line") from error
        return
    with_files_inline(data.decode("utf-8-sig"), lambda _: b"x")
