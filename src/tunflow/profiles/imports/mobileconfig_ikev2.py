"""An IKEv2 server as Apple's configuration profiles have it (Device Management: VPN.IKEv2), and back. Pure.

Certificates and keys are other payloads of the same file, by their PayloadUUID; in the link they are `base64:` and PEM.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12

from tunflow.errors import LocalError
from tunflow.protocols.ikev2.settings import INLINE, IKEv2Server

Payload = Mapping[str, Any]
PKCS12 = "com.apple.security.pkcs12"
CERTIFICATES = ("com.apple.security.root", "com.apple.security.pem", "com.apple.security.pkcs1")

_ENCRYPTION = {
    "3DES": "3des", "AES-128": "aes128", "AES-256": "aes256", "AES-128-GCM": "aes128gcm16",
    "AES-256-GCM": "aes256gcm16", "ChaCha20Poly1305": "chacha20poly1305",
}  # fmt: skip
"""Apple's words by strongSwan's (proposals of swanctl.conf(5)); DES is what neither should speak."""
_INTEGRITY = {
    "SHA1-96": "sha1", "SHA1-160": "sha1_160", "SHA2-256": "sha256", "SHA2-384": "sha384", "SHA2-512": "sha512",
}  # fmt: skip
_GROUPS = {
    1: "modp768", 2: "modp1024", 5: "modp1536", 14: "modp2048", 15: "modp3072", 16: "modp4096", 17: "modp6144",
    18: "modp8192", 19: "ecp256", 20: "ecp384", 21: "ecp521", 31: "curve25519", 32: "curve448",
}  # fmt: skip
"""By their numbers (IANA's "Key Exchange Method Transform IDs")."""


def ikev2_server(settings: Payload, payloads: Mapping[str, Payload]) -> IKEv2Server:
    """The server of an IKEv2 dictionary; `payloads` are the file's by their UUID. Raises LocalError."""
    host = settings.get("RemoteAddress")
    if not isinstance(host, str) or not host:
        raise LocalError("IKEv2: RemoteAddress names no server")
    method, is_eap = settings.get("AuthenticationMethod"), settings.get("ExtendedAuthEnabled") == 1
    authorities = [pem for each in payloads.values() if each.get("PayloadType") in CERTIFICATES if (pem := _pem(each))]
    values: dict[str, Any] = {"host": host}
    for key, name in (("remote_id", "RemoteIdentifier"), ("local_id", "LocalIdentifier")):
        values[key] = _text(settings, name)
    if method == "SharedSecret":
        secret = _text(settings, "SharedSecret")
        if secret is None or is_eap:
            raise LocalError("IKEv2: a SharedSecret is carried where it is there, and without ExtendedAuthEnabled")
        values |= {"method": "psk", "user": values["local_id"], "password": secret}
        authorities = []
    elif method == "Certificate" and not is_eap:
        certificate, key = _identity(payloads.get(str(settings.get("PayloadCertificateUUID"))))
        values |= {"method": "certificate", "certificate": certificate, "key": key}
    elif is_eap and method == "None":
        values |= {"user": _text(settings, "AuthName"), "password": _text(settings, "AuthPassword")}
    else:
        raise LocalError(
            f"IKEv2: AuthenticationMethod {method} {'with' if is_eap else 'without'} ExtendedAuthEnabled is not carried"
        )
    if authorities:
        values["ca"] = _inline("".join(authorities))
    values["ike"] = _proposal(settings, "IKESecurityAssociationParameters", is_child=False)
    values["esp"] = _proposal(settings, "ChildSecurityAssociationParameters", is_child=True)
    return IKEv2Server(**values)


def ikev2_payloads(server: IKEv2Server) -> tuple[dict[str, Any], bytes | None]:
    """The IKEv2 dictionary of a server, and the certificate of its CA in DER where the link has that in itself.

    Raises LocalError for what such a file cannot say.
    """
    if server.method == "certificate":
        raise LocalError("a certificate of ours: put it on the device, and the server into its settings")
    if server.port != IKEv2Server("").port:
        raise LocalError("another port than 500: a device knows no other")
    settings: dict[str, Any] = {
        "RemoteAddress": server.host,
        "RemoteIdentifier": server.remote_id or server.host,
        "LocalIdentifier": server.local_id or (server.user or "" if server.method == "psk" else ""),
    }
    if server.method == "psk":
        settings |= {"AuthenticationMethod": "SharedSecret", "SharedSecret": server.password or ""}
    else:
        settings |= {"AuthenticationMethod": "None", "ExtendedAuthEnabled": 1}
        settings |= {
            key: text
            for key, text in (("AuthName", server.user), ("AuthPassword", server.password))
            if text is not None
        }
    for key, text in (
        ("IKESecurityAssociationParameters", server.ike),
        ("ChildSecurityAssociationParameters", server.esp),
    ):
        if text is not None:
            settings[key] = _parameters(text)
    if server.esp is not None:
        settings["EnablePFS"] = int("DiffieHellmanGroup" in settings["ChildSecurityAssociationParameters"])
    authority = None
    if server.ca is not None and server.ca.startswith(INLINE):
        pem = b64decode(server.ca.removeprefix(INLINE))
        authority = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    return settings, authority


def _text(settings: Payload, key: str) -> str | None:
    value = settings.get(key)
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return value if isinstance(value, str) and value else None


def _inline(pem: str) -> str:
    return INLINE + b64encode(pem.encode()).decode()


def _pem(payload: Payload) -> str | None:
    """A certificate's payload in PEM; None where it is none."""
    content = payload.get("PayloadContent")
    if not isinstance(content, bytes):
        return None
    try:
        if b"-----BEGIN CERTIFICATE" in content:
            made = x509.load_pem_x509_certificate(content)
        else:
            made = x509.load_der_x509_certificate(content)
    except ValueError:
        return None
    return made.public_bytes(Encoding.PEM).decode()


def _identity(payload: Payload | None) -> tuple[str, str]:
    """The certificate and key of a PKCS #12 payload. Raises LocalError."""
    content = None if payload is None else payload.get("PayloadContent")
    if payload is None or payload.get("PayloadType") != PKCS12 or not isinstance(content, bytes):
        raise LocalError(
            "IKEv2: PayloadCertificateUUID names no PKCS #12 in this file: certificate=FILE and key=FILE of an "
            "ikev2:// link name one that the device has by other means"
        )
    password = _text(payload, "Password")
    if password is None:
        raise LocalError("the PKCS #12 of the certificate has its password not in this file")
    try:
        key, certificate, _ = pkcs12.load_key_and_certificates(content, password.encode())
    except ValueError:
        raise LocalError("the PKCS #12 of the certificate does not open with its Password") from None
    if key is None or certificate is None:
        raise LocalError("the PKCS #12 has no certificate and key")
    made = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return _inline(certificate.public_bytes(Encoding.PEM).decode()), _inline(made)


def _proposal(settings: Payload, name: str, *, is_child: bool) -> str | None:
    """The algorithms of one dictionary as swanctl.conf(5) has them, with Apple's defaults. Raises LocalError."""
    given = settings.get(name)
    if not isinstance(given, dict):
        return None
    words = given.get("EncryptionAlgorithm", "AES-256"), given.get("IntegrityAlgorithm", "SHA2-256")
    number = given.get("DiffieHellmanGroup", 14)
    encryption, integrity = _ENCRYPTION.get(str(words[0])), _INTEGRITY.get(str(words[1]))
    group = _GROUPS.get(number) if isinstance(number, int) else None
    if encryption is None or integrity is None or group is None:
        raise LocalError(f"IKEv2: {name}: {words[0]}, {words[1]} and group {number} are not all known, or DES")
    is_whole = encryption.endswith(("gcm16", "poly1305"))  # it needs no integrity of its own, IKE a function for keys
    parts = [encryption]
    if not is_whole:
        parts.append(integrity)
    elif not is_child:
        parts.append(f"prf{integrity.partition('_')[0]}")
    if not is_child or settings.get("EnablePFS") == 1:
        parts.append(group)
    return "-".join(parts)


def _parameters(proposal: str) -> dict[str, Any]:
    """A proposal in Apple's words. Raises LocalError."""
    encryption = {ours: theirs for theirs, ours in _ENCRYPTION.items()}
    integrity = {ours: theirs for theirs, ours in _INTEGRITY.items()}
    groups = {ours: theirs for theirs, ours in _GROUPS.items()}
    made: dict[str, Any] = {}
    for part in proposal.split("-"):
        word = part.removeprefix("prf")
        if part in encryption:
            made["EncryptionAlgorithm"] = encryption[part]
        elif word in integrity:
            made["IntegrityAlgorithm"] = integrity[word]
        elif part in groups:
            made["DiffieHellmanGroup"] = groups[part]
        else:
            raise LocalError(f"ike= or esp= of the link: a device does not know {part}, or takes one proposal only")
    return made
