"""OpenVPN with Debian's server: what it asks its users (one-time passwords), PKCS#12, encrypted keys, revocation."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.netlab.namespaces import Lab
from bench.netlab.processes import Process
from bench.netlab.tunnel import TUNFLOW
from openvpn_peer import INSIDE, Keys, start_openvpn
from test_lab_openvpn import run

pytestmark = pytest.mark.lab

PING = ["ping", "-c", "1", "-W", "5", INSIDE]
CHECK = """#!/bin/sh
number=$(printf 123456 | base64)
case "$username" in
    "") exit 0 ;;
    static) [ "$password" = "SCRV1:$(printf pass | base64):$number" ] && exit 0 ;;
    dynamic)
        [ "$password" = CRV1::state::123456 ] && exit 0
        [ "$password" = pass ] || exit 1
        printf 'CRV1:R,E:state:%s:Which number?' "$(printf dynamic | base64)" >"$auth_failed_reason_file" ;;
    pending)
        [ "$password" = pass ] || exit 1
        printf '60\\ncrtext\\nCR_TEXT:R,E:Which number?\\n' >"$auth_pending_file"
        exit 2 ;;
esac
exit 1
"""
RESPONSE = """#!/bin/sh
[ "$(base64 -d <"$1")" = 123456 ] && right=1 || right=0
printf $right >"$auth_control_file"
"""


@pytest.fixture(scope="module")
def keys(lab: Lab) -> Keys:
    made = Keys(lab.directory / "openvpn-papers")
    for name, text in (("check", CHECK), ("response", RESPONSE)):
        (made.directory / name).write_text(text)
        (made.directory / name).chmod(0o755)
    (made.directory / "revoking.cnf").write_text(REVOKING)
    (made.directory / "index").write_text("")
    for argv in (
        ["pkcs12", "-export", "-in", "client.crt", "-inkey", "client.key", "-certfile", "ca.crt", "-out", "client.p12",
         "-passout", "pass:a secret"],
        ["pkcs8", "-topk8", "-in", "client.key", "-out", "locked.key", "-passout", "pass:a secret"],
        ["ca", "-config", "revoking.cnf", "-gencrl", "-out", "none.crl"],
        ["ca", "-config", "revoking.cnf", "-revoke", "server.crt"],
        ["ca", "-config", "revoking.cnf", "-gencrl", "-out", "server.crl"],
    ):  # fmt: skip
        subprocess.run(["openssl", *argv], cwd=made.directory, check=True, capture_output=True, timeout=30)
    return made


REVOKING = (
    "[ca]\ndefault_ca = here\n[here]\ndatabase = index\ncertificate = ca.crt\nprivate_key = ca.key\n"
    "default_md = sha256\ndefault_crl_days = 30\n"
)


@pytest.fixture(scope="module")
def server(lab: Lab, keys: Keys) -> Iterator[Process]:
    checks = ["--script-security", "3", "--auth-user-pass-verify", "check", "via-env", "--auth-user-pass-optional"]
    with start_openvpn(lab, keys, "--tls-crypt", "ta.key", *checks, "--client-crresponse", "response") as running:
        yield running


def configured(file: str, **values: str) -> list[str]:
    """A ping through the tunnel of a file, with what would be asked on the terminal."""
    given = [word for key, value in {"file": file, **values}.items() for word in ("--config", f"{key}={value}")]
    return [TUNFLOW, "run", "--provider", "openvpn", *given, "--", *PING]


@pytest.mark.parametrize(
    ("username", "line"),
    [("static", ('static-challenge "Which number?" 1',)), ("dynamic", ()), ("pending", ())],
)
def test_one_time_passwords(lab: Lab, keys: Keys, server: Process, username: str, line: tuple[str, ...]) -> None:
    """Asked for before, after a refusal, and inside the session, where a wrong one is tried, too."""
    file = keys.client(username, "tls-crypt ta.key", "auth-user-pass", *line)
    for answer, status in (("123456", 0), ("654321", 1)) if username == "pending" else (("123456", 0),):
        done = run(lab, configured(file, username=username, password="pass", answer=answer))
        assert done.returncode == status, (done.stdout, done.stderr, server.output()[-3000:])
        assert answer not in done.stderr


@pytest.mark.parametrize(
    ("papers", "values"),
    [
        (("pkcs12 client.p12",), {"key_password": "a secret"}),
        (("ca ca.crt", "cert client.crt", "key locked.key"), {"key_password": "a secret"}),
        (("pkcs12 client.p12", "crl-verify none.crl"), {"key_password": "a secret"}),
    ],
    ids=["PKCS#12", "an encrypted key", "nothing is revoked"],
)
def test_papers(lab: Lab, keys: Keys, server: Process, papers: tuple[str, ...], values: dict[str, str]) -> None:
    file = Path(keys.client("papers", "tls-crypt ta.key", *papers, certificate=False))
    file.write_text(file.read_text().replace("ca ca.crt\n", "", 1))
    done = run(lab, configured(str(file), **values))
    assert done.returncode == 0, (done.stderr, server.output()[-3000:])


@pytest.mark.parametrize(
    ("papers", "values", "says"),
    [
        ("key locked.key", {"key_password": "another"}, "its password is wrong"),
        ("key client.key\ncrl-verify server.crl", {}, "it was revoked (crl-verify)"),
    ],
    ids=["a wrong password", "the server's certificate was revoked"],
)
def test_papers_that_do_not_do(
    lab: Lab, keys: Keys, server: Process, papers: str, values: dict[str, str], says: str
) -> None:
    file = keys.client("refused", "tls-crypt ta.key", f"cert client.crt\n{papers}", certificate=False)
    done = run(lab, configured(file, **values))
    assert done.returncode != 0
    assert says in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
