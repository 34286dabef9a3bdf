"""TLS without a socket: bytes in, bytes out, by pyOpenSSL, which can export keying material (the ssl module cannot).

Rules: TLS 1.2 is the least; the peer must have a certificate that leads to the given CA at the given time, or one of
the given fingerprints; what else is demanded of it (name, usage) is asked here too, before a byte of data is exchanged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tunflow.errors import BadPacket, LocalError

if TYPE_CHECKING:
    from OpenSSL import SSL
    from OpenSSL.crypto import X509

LARGEST_RECORD = 16_384
_CHUNK = 65_536
_ERRORS = {
    2: "its issuer is not here",
    3: "there is no revocation list of its issuer (crl-verify)",
    9: "it is not valid yet: is this machine's clock right?",
    10: "it has expired",
    12: "the revocation list has expired (crl-verify)",
    18: "it is self-signed and not in ca",
    19: "it leads to a root that is not in ca",
    20: "its issuer is not in ca",
    21: "its issuer is not in ca",
    23: "it was revoked (crl-verify)",
    26: "it was issued for something else",
}
"""OpenSSL's X509_V_ERR_ numbers (x509_vfy.h), the usual ones, in words."""
_RDN = {NameOID.EMAIL_ADDRESS: "emailAddress"}


@dataclass(frozen=True, slots=True)
class Demands:
    """What a peer's certificate must be, beside genuine."""

    usage: str = ""
    """`server` or `client`: it was issued for that end (`remote-cert-tls`)."""
    name: str = ""
    name_kind: str = "subject"
    """`subject` (the whole), `name` or `name-prefix` (the common name): `verify-x509-name`."""
    fingerprints: frozenset[bytes] = frozenset()
    """SHA-256 of certificates, one of which it must be; empty for any."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Certificates and keys of one end, as PEM text (`pkcs12` as bytes)."""

    ca: str = ""
    certificate: str = ""
    """With the chain behind it, if any."""
    key: str = field(default="", repr=False)
    pkcs12: bytes = field(default=b"", repr=False)
    password: str | None = field(default=None, repr=False)
    """Of the private key or the PKCS#12 file."""
    crl: str = ""
    least_version: str = "1.2"
    ciphers: str = ""
    """OpenSSL's list for TLS 1.2; empty for its own."""
    cipher_suites: str = ""
    """Likewise for TLS 1.3."""


def make_context(identity: Identity, demands: Demands, unix_time: float, *, server: bool) -> SSL.Context:
    """A context that proves and demands all of this. `unix_time` is when certificates must be valid.

    Raises LocalError that names the part which cannot be used.
    """
    from OpenSSL import SSL  # noqa: PLC0415 (10 MB that only OpenVPN needs)
    from OpenSSL.crypto import X509 as OpenSSLCertificate  # noqa: PLC0415, N811
    from OpenSSL.crypto import X509StoreFlags  # noqa: PLC0415

    context = SSL.Context(SSL.TLS_SERVER_METHOD if server else SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION if identity.least_version == "1.3" else SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # a session mostly rests: 32 KB that a server would have for each client
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    _set_ciphers(context, identity)
    store = context.get_cert_store()
    assert store is not None
    store.set_time(datetime.fromtimestamp(unix_time, UTC).replace(tzinfo=None))
    bundle = _load_pkcs12(identity) if identity.pkcs12 else None
    authorities = _certificates(identity.ca, "ca") if identity.ca else []
    if bundle is not None and not authorities:
        authorities = [each.certificate for each in bundle.additional_certs]
    for each in authorities:
        store.add_cert(OpenSSLCertificate.from_cryptography(each))
    if identity.crl:
        store.add_crl(_crl(identity.crl))
        store.set_flags(X509StoreFlags.CRL_CHECK)
    _use_own(context, identity, bundle)
    by_fingerprint = bool(demands.fingerprints) and not authorities
    context.set_verify(
        SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
        lambda connection, certificate, error, depth, good: _verify(
            demands, connection, certificate, 0 if good or by_fingerprint else error, depth
        ),
    )
    return context


class TLSSession:
    """One handshake and what is said after it."""

    def __init__(self, context: SSL.Context, *, server: bool) -> None:
        from OpenSSL import SSL  # noqa: PLC0415

        self._ssl = SSL
        connection = SSL.Connection(context, None)
        self._reasons: list[str] = []
        connection.set_app_data(self._reasons)
        if server:
            connection.set_accept_state()
        else:
            connection.set_connect_state()
        self._connection: SSL.Connection | None = connection
        """None once it was released."""
        self.is_established = False

    def release(self) -> None:
        """Say and read no more: OpenSSL takes 40 KB for a session."""
        self._connection = None

    def feed_untrusted(self, data: bytes) -> list[bytes]:
        """Take TLS bytes; the records of plaintext that they complete. Raises BadPacket when TLS has failed: why."""
        connection = self._connection
        records: list[bytes] = []
        if connection is None:
            return records
        if data:
            connection.bio_write(data)
        try:
            if not self.is_established:
                connection.do_handshake()
                self.is_established = True
            while True:
                records.append(connection.recv(LARGEST_RECORD))
        except self._ssl.WantReadError:
            return records
        except self._ssl.ZeroReturnError:
            return records
        except self._ssl.Error as error:
            raise BadPacket(self._reason(error)) from None

    def write(self, record: bytes) -> None:
        """Say this, in one record if it fits one, in an established session. Raises BadPacket when TLS has failed."""
        if self._connection is None:
            return
        try:
            self._connection.sendall(record)
        except self._ssl.Error as error:
            raise BadPacket(self._reason(error)) from None

    def take_output(self) -> bytes:
        """TLS bytes for the peer."""
        pieces: list[bytes] = []
        if self._connection is None:
            return b""
        try:
            while True:
                pieces.append(self._connection.bio_read(_CHUNK))
        except self._ssl.Error:
            return b"".join(pieces)

    def export(self, label: bytes, size: int) -> bytes:
        """Keying material (RFC 5705). The session must be established."""
        assert self._connection is not None
        return self._connection.export_keying_material(label, size)

    @property
    def peer_name(self) -> str:
        """The common name of the peer's certificate; "" before it is established."""
        assert self._connection is not None
        certificate = self._connection.get_peer_certificate(as_cryptography=True)
        return "" if certificate is None else common_name(certificate)

    @property
    def description(self) -> str:
        """Version and cipher, for a log."""
        assert self._connection is not None
        return f"{self._connection.get_protocol_version_name()} {self._connection.get_cipher_name()}"

    def _reason(self, error: Exception) -> str:
        """Why TLS has failed: our own verdict about a certificate, or OpenSSL's words."""
        if self._reasons:
            return self._reasons[0]
        for entry in error.args[0] if error.args and isinstance(error.args[0], list) else []:
            if entry and entry[-1]:
                return f"TLS: {entry[-1]}"
        return "TLS: the connection is broken"


def common_name(certificate: x509.Certificate) -> str:
    """The last common name in a certificate's subject; "" without one."""
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[-1].value) if found else ""


def subject_text(certificate: x509.Certificate) -> str:
    """A certificate's subject as OpenVPN writes it: `C=DE, O=Example, CN=server`."""
    parts = []
    for attribute in certificate.subject:
        name = _RDN.get(attribute.oid, attribute.rfc4514_attribute_name)
        parts.append(f"{name}={attribute.value!s}")
    return ", ".join(parts)


def _verify(demands: Demands, connection: SSL.Connection, certificate: X509, error: int, depth: int) -> bool:
    """Return True if OpenSSL may accept a certificate of the chain; else the reason is left with the connection."""
    reason = None
    if error:
        reason = _ERRORS.get(error, f"OpenSSL's verification error {error}")
    elif not depth:
        reason = unmet(demands, certificate.to_cryptography())
    if reason is not None:
        reasons: list[str] = connection.get_app_data()
        reasons.append(f"the certificate of {common_name(certificate.to_cryptography())!r} is refused: {reason}")
    return reason is None


def unmet(demands: Demands, certificate: x509.Certificate) -> str | None:
    """What a peer's certificate lacks, in words; None when it is what was demanded."""
    if demands.fingerprints and certificate.fingerprint(SHA256()) not in demands.fingerprints:
        return "its fingerprint is none of peer-fingerprint"
    if demands.usage and not _is_for(certificate, demands.usage):
        return f"it was not issued for a {demands.usage} (remote-cert-tls)"
    if demands.name:
        found = subject_text(certificate) if demands.name_kind == "subject" else common_name(certificate)
        same = found.startswith(demands.name) if demands.name_kind == "name-prefix" else found == demands.name
        if not same:
            return f"it is for {found!r}, not for {demands.name!r} (verify-x509-name)"
    return None


def _is_for(certificate: x509.Certificate, usage: str) -> bool:
    """Return True if key usage and extended key usage are those of a TLS server or client."""
    wanted = ExtendedKeyUsageOID.SERVER_AUTH if usage == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
    try:
        certificate.extensions.get_extension_for_class(x509.KeyUsage)
        return wanted in certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False


def _use_own(context: SSL.Context, identity: Identity, bundle: pkcs12.PKCS12KeyAndCertificates | None) -> None:
    """Our own certificate and key. Raises LocalError."""
    from OpenSSL import SSL  # noqa: PLC0415

    if bundle is not None:
        chain = [bundle.cert.certificate] if bundle.cert is not None else []
        chain += [each.certificate for each in bundle.additional_certs]
        key: object = bundle.key
    elif identity.certificate:
        chain = _certificates(identity.certificate, "cert")
        key = _private_key(identity)
    else:
        return
    if not chain or key is None:
        raise LocalError("pkcs12: holds no certificate with its private key")
    context.use_certificate(chain[0])
    for each in chain[1:]:
        context.add_extra_chain_cert(each)
    try:
        context.use_privatekey(key)  # type: ignore[arg-type]
        context.check_privatekey()
    except (SSL.Error, TypeError):
        raise LocalError(
            "key: the private key is not that of the certificate, or of a kind that TLS has no use for"
        ) from None


def _private_key(identity: Identity) -> object:
    password = identity.password.encode() if identity.password else None
    try:
        return load_pem_private_key(identity.key.encode(), password)
    except TypeError:
        if password is not None:  # it is not encrypted: then the password was not needed
            return load_pem_private_key(identity.key.encode(), None)
        raise LocalError("key: the private key is encrypted and there is no password for it (askpass)") from None
    except ValueError:
        raise LocalError("key: no private key in PEM, or its password is wrong") from None


def needs_password(identity: Identity) -> bool:
    """Return True if the private key cannot be read without a password that is not there."""
    if identity.password is not None:
        return False
    try:
        if identity.pkcs12:
            pkcs12.load_pkcs12(identity.pkcs12, None)
        elif identity.key:
            load_pem_private_key(identity.key.encode(), None)
    except TypeError:
        return True
    except ValueError:
        return bool(identity.pkcs12)
    return False


def _load_pkcs12(identity: Identity) -> pkcs12.PKCS12KeyAndCertificates:
    try:
        return pkcs12.load_pkcs12(identity.pkcs12, identity.password.encode() if identity.password else None)
    except ValueError:
        raise LocalError("pkcs12: no PKCS#12 file, or its password is wrong") from None


def _certificates(text: str, part: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        raise LocalError(f"{part}: no certificate in PEM") from None


def _crl(text: str) -> x509.CertificateRevocationList:
    try:
        return x509.load_pem_x509_crl(text.encode())
    except ValueError:
        raise LocalError("crl-verify: no revocation list in PEM") from None


def _set_ciphers(context: SSL.Context, identity: Identity) -> None:
    from OpenSSL import SSL  # noqa: PLC0415

    for directive, value, use in (
        ("tls-cipher", identity.ciphers, context.set_cipher_list),
        ("tls-ciphersuites", identity.cipher_suites, context.set_tls13_ciphersuites),
    ):
        if value:
            try:
                use(value.encode())
            except SSL.Error:
                raise LocalError(f"{directive}: OpenSSL knows none of {value!r}") from None
