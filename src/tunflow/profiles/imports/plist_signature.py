"""Who signed a configuration profile, and whether this machine's CAs know them: by the program openssl, where it is.

Read first: openssl-cms(1), RFC 5652 §5.6.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from tunflow.errors import BadPacket

_PATIENCE = 30.0


def signature_line(content: bytes) -> str:
    """What to tell of the signature of CMS in DER. Raises BadPacket where it is not of what is in it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return "it is signed; by whom is not checked without the program openssl (apt install openssl)"
    with tempfile.TemporaryDirectory() as folder:
        signers = Path(folder, "signers.pem")
        verify = [openssl, "cms", "-verify", "-inform", "DER", "-binary", "-purpose", "any", "-signer", str(signers)]
        verify += ["-out", "/dev/null"]
        if not _holds([*verify, "-noverify"], content) or not signers.exists():
            raise BadPacket("is signed, and its signature is wrong: it was changed, or is not whole")
        who = _named(signers.read_bytes())
        if _holds(verify, content):
            return f"it is signed by {who}, whom this machine's CAs know"
        return f"it is signed by {who}, whom none of this machine's CAs knows: that may be anybody"


def _holds(argv: list[str], content: bytes) -> bool:
    try:
        done = subprocess.run(argv, input=content, capture_output=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _named(pem: bytes) -> str:
    """The signers' names, in quotes and printable."""
    names = []
    for certificate in x509.load_pem_x509_certificates(pem):
        found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        text = str(found[0].value) if found else certificate.subject.rfc4514_string()
        names.append(repr(text[:80]))
    return " and ".join(names)
