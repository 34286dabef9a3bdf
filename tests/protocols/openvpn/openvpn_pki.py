"""Certificates and keys for tests: made here, good at the time that the test's clock shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tunflow.protocols.openvpn.tls import Identity

EPOCH = 1_700_000_000.0
"""Unix time at which tests begin."""
DAYS = 30


@dataclass(frozen=True)
class Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return pem(self.certificate)

    def issue(self, name: str, usage: str, *, start: float = EPOCH, days: float = DAYS) -> tuple[str, str]:
        """A certificate for a TLS `server` or `client`, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if usage == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
        certificate = (
            _builder(name, self.certificate.subject, key.public_key(), start, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return pem(certificate), key_pem(key)

    def identity(self, name: str, usage: str, **validity: float) -> Identity:
        certificate, key = self.issue(name, usage, **validity)
        return Identity(ca=self.pem, certificate=certificate, key=key)

    def revoke(self, certificate: str) -> str:
        """A revocation list with this one in it."""
        serial = x509.load_pem_x509_certificate(certificate.encode()).serial_number
        at = datetime.fromtimestamp(EPOCH, UTC)
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at).build()
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        builder = builder.last_update(at - timedelta(days=1)).next_update(at + timedelta(days=DAYS))
        crl = builder.add_revoked_certificate(entry).sign(self.key, hashes.SHA256())
        return crl.public_bytes(serialization.Encoding.PEM).decode()


@cache
def authority(name: str = "ca") -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        _builder(name, subject, key.public_key(), EPOCH, 365)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key: ec.EllipticCurvePrivateKey, password: str | None = None) -> str:
    how = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how).decode()


def _builder(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, start: float, days: float
) -> x509.CertificateBuilder:
    at = datetime.fromtimestamp(start, UTC)
    builder = x509.CertificateBuilder().issuer_name(issuer).public_key(key)
    subject = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"), x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = builder.subject_name(issuer if name == "ca" else subject).serial_number(x509.random_serial_number())
    return builder.not_valid_before(at - timedelta(days=1)).not_valid_after(at + timedelta(days=days))


def _usage() -> x509.KeyUsage:
    names = (
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
    )
    return x509.KeyUsage(
        digital_signature=True, encipher_only=False, decipher_only=False, **dict.fromkeys(names, False)
    )
