"""strongSwan's charon on S as an IKEv2 server: EAP-MSCHAPv2, a shared secret and certificates, ESP in user space."""

from __future__ import annotations

import datetime
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from bench.netlab.namespaces import SERVER4, SITE4, Lab
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NAME = "vpn.lab"
USER, PASSWORD, SECRET = "maria", "s3cret-of-the-lab", "shared-by-the-lab"
CHARON = "/usr/lib/ipsec/charon"
PLUGINS = (
    "random nonce openssl aes sha1 sha2 hmac kdf md5 pem pkcs1 pkcs8 x509 constraints pubkey socket-default attr "
    "kernel-libipsec kernel-netlink eap-identity eap-mschapv2 vici"
)

_SETTINGS = """\
charon {{
  load = {plugins}
  plugins {{
    vici {{
      socket = {vici}
    }}
    attr {{
      dns = {dns}
    }}
  }}
  filelog {{
    stderr {{
      default = 1
    }}
  }}
}}
"""
_WHOLE = """\
version = 2
local_addrs = {address}
pools = four, six
mobike = no
send_certreq = no
children {{
  net {{
    local_ts = 0.0.0.0/0, ::/0
  }}
}}
"""
_POOLS = """\
pools {
  four {
    addrs = 10.92.0.0/24
  }
  six {
    addrs = fd92::/120
  }
}
"""
_SECRETS = """\
secrets {{
  eap-user {{
    id = {user}
    secret = "{password}"
  }}
  ike-psk {{
    id = {user}@psk.lab
    secret = "{secret}"
  }}
}}
"""


class Strongswan:
    """Its files, and links to it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = directory / "ike-ca.pem"
        self.certificate, self.key = directory / "ike-maria.pem", directory / "ike-maria.key"
        self.vici = f"unix://{directory}/ike.vici"
        ca_key = ec.generate_private_key(ec.SECP256R1())
        ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the lab's CA")])
        _issue(self.ca, None, ca_name, ca_key, ca_name, ca_key, None)
        for name, path in ((NAME, directory / "ike-server"), (f"{USER}.lab", directory / "ike-maria")):
            key = ec.generate_private_key(ec.SECP256R1())
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
            _issue(path.with_suffix(".pem"), path.with_suffix(".key"), subject, key, ca_name, ca_key, name)
        self.settings = directory / "ike-strongswan.conf"
        self.settings.write_text(_SETTINGS.format(plugins=PLUGINS, vici=self.vici, dns=SITE4))
        self.connections = directory / "swanctl.conf"
        (directory / "private").mkdir()
        (directory / "ike-server.key").rename(directory / "private" / "server.key")
        whole = _WHOLE.format(address=SERVER4)
        ours = f"local {{\nauth = pubkey\ncerts = {directory}/ike-server.pem\nid = {NAME}\n}}"
        eap = "remote {\nauth = eap-mschapv2\neap_id = %any\n}"
        theirs = f"remote {{\nauth = pubkey\ncacerts = {self.ca}\nid = {USER}.lab\n}}"
        psk = f"local {{\nauth = psk\nid = psk.lab\n}}\nremote {{\nauth = psk\nid = {USER}@psk.lab\n}}"
        self.connections.write_text(
            f"connections {{\neap {{\n{whole}{ours}\n{eap}\n}}\n"
            f"certificate {{\n{whole}{ours}\n{theirs}\n}}\n"
            f"psk {{\n{whole}{psk}\n}}\n}}\n" + _POOLS + _SECRETS.format(user=USER, password=PASSWORD, secret=SECRET)
        )

    def link(self, *, user: str = USER, password: str = PASSWORD, **options: str) -> str:
        """A client's, by EAP unless `options` say otherwise."""
        words = {"ca": str(self.ca), "remote_id": NAME, **options}
        query = "&".join(f"{key}={quote(value, safe='')}" for key, value in words.items() if value)
        return f"ikev2://{quote(user)}:{quote(password)}@{SERVER4}?{query}"

    def by_secret(self, secret: str = SECRET) -> str:
        """A client's link with a shared secret."""
        return self.link(user=f"{USER}@psk.lab", password=secret, auth="psk", ca="", remote_id="psk.lab")

    def by_certificate(self) -> str:
        """A client's link with a certificate."""
        words = f"ca={self.ca}&remote_id={NAME}&certificate={self.certificate}&key={self.key}&local_id={USER}.lab"
        return f"ikev2://{SERVER4}?{words}"


def _issue(
    path: Path,
    key_path: Path | None,
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    name: str | None,
) -> None:
    """Write a certificate, of a CA where it has no `name`, and its key."""
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=name is None, path_length=None), critical=True)
    )
    if name is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    path.write_bytes(builder.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.PEM))
    if key_path is not None:
        key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


@contextmanager
def strongswan(lab: Lab) -> Iterator[Strongswan]:
    """The server runs."""
    made = Strongswan(lab.directory)
    script = f"mount -t tmpfs none /run && exec {CHARON}"
    load = ["swanctl", "--load-all", "--noprompt", "--file", str(made.connections), "--uri", made.vici]
    env = {**lab.server.env, "STRONGSWAN_CONF": str(made.settings), "SWANCTL_DIR": str(lab.directory)}
    with lab.start(lab.server, ["unshare", "-m", "sh", "-c", script], env=env):
        deadline = time.monotonic() + 20
        while True:
            done = subprocess.run(lab.server.command(load), env=env, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                break
            assert time.monotonic() < deadline, (done.stdout, done.stderr)
            time.sleep(0.1)
        yield made
