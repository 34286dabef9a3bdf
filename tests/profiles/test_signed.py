"""What is fetched and must be signed: signatures that minisign itself makes, and all that is wrong with others."""

from __future__ import annotations

import subprocess
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.errors import BadPacket, LocalError, RemoteError
from tunflow.profiles.imports.fetch import ServerReply
from tunflow.profiles.imports.importer import import_profile, read_source
from tunflow.profiles.minisign import MinisignKey, signature_address
from tunflow.profiles.store import parse_text
from tunflow.tunnel import rule_update
from tunflow.tunnel.subscriptions import update

LINK = "ss://aes-256-gcm:secret@192.0.2.1:8388"
OWN = f'server = "{LINK}"\n[tunnel]\nkill_switch = true\n'


class Signer:
    """A pair of keys that minisign made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._run("-G", "-W", "-p", "key.pub", "-s", "key.sec")
        self.key = (folder / "key.pub").read_text().splitlines()[1]

    def sign(self, content: bytes, *options: str) -> bytes:
        (self.folder / "file").write_bytes(content)
        self._run("-S", "-s", "key.sec", "-m", "file", "-t", "of the test", *options)
        return (self.folder / "file.minisig").read_bytes()

    def _run(self, *arguments: str) -> None:
        subprocess.run(["minisign", *arguments], cwd=self.folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(tmp_path_factory.mktemp("keys") / "one")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(tmp_path_factory.mktemp("keys") / "two")


class Web:
    """Addresses and what they hold."""

    def __init__(self, **pages: bytes) -> None:
        self.pages = {f"https://w.example/{name}": content for name, content in pages.items()}

    def __call__(self, url: str, *_: object) -> ServerReply:
        if url not in self.pages:
            raise RemoteError("w.example answered 404")
        return ServerReply(self.pages[url], None)


@pytest.mark.parametrize("options", [(), ("-l",)])
def test_what_minisign_signs(signer: Signer, options: tuple[str, ...]) -> None:
    content = b"a list\n" * 1000
    signature = signer.sign(content, *options)
    key = MinisignKey.of(signer.key)
    assert key.check_untrusted(content, signature) == "of the test"
    with pytest.raises(BadPacket, match="not of this content"):
        key.check_untrusted(content + b"x", signature)
    with pytest.raises(BadPacket, match="not of this content"):
        key.check_untrusted(content, signature.replace(b"of the test", b"of the best"))


def test_another_key(signer: Signer, other: Signer) -> None:
    with pytest.raises(BadPacket, match="another key"):
        MinisignKey.of(signer.key).check_untrusted(b"x", other.sign(b"x"))
    same_number = MinisignKey(MinisignKey.of(other.key).number, MinisignKey.of(signer.key).key)
    with pytest.raises(BadPacket, match="not of this content"):
        same_number.check_untrusted(b"x", other.sign(b"x"))


@given(st.binary(max_size=300) | st.lists(st.binary(max_size=80).map(b64encode), max_size=5).map(b"\n".join))
def test_nonsense_is_no_signature(signature: bytes) -> None:
    key = MinisignKey(bytes(8), b64decode("8Qw3bXH2WzZk7nS4m0T1yq0C0m3lq0L8wqvM8a0mJ1I="))
    with pytest.raises(BadPacket):
        key.check_untrusted(b"", signature)


def test_where_a_signature_is() -> None:
    assert signature_address("https://a.example/list") == "https://a.example/list.minisig"
    assert signature_address("https://a.example/list?v=1&b=2") == "https://a.example/list.minisig?v=1&b=2"


@pytest.mark.parametrize(
    "table",
    ['[subscription]\nurl = "https://a.example/"', '[rule_sets.x]\nbehavior = "domain"\nurl = "https://a.example/"'],
)
def test_a_key_that_is_none(table: str) -> None:
    with pytest.raises(LocalError, match=r"home\.toml:\d+: .*key must be a minisign public key"):
        parse_text(f'server = "direct://"\n{table}\nkey = "nonsense"\n', "home.toml")


def test_a_profile_from_the_web_must_be_signed(signer: Signer) -> None:
    web = Web(p=OWN.encode())
    with pytest.raises(LocalError, match="--key"):
        import_profile(read_source("https://w.example/p", None, web))
    with pytest.raises(RemoteError, match="signature"):
        read_source("https://w.example/p", None, web, signer.key)
    web.pages["https://w.example/p.minisig"] = signer.sign(OWN.encode())
    made = import_profile(read_source("https://w.example/p#school", None, web, signer.key)).profile
    assert (made.name, made.tunnel.kill_switch) == ("school", True)


def test_an_update_keeps_what_was_there(
    signer: Signer, other: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNFLOW_DATA_DIR", str(tmp_path))
    subscription = f'[subscription]\nurl = "https://w.example/p"\nkey = "{signer.key}"\n'
    profile = parse_text(OWN + subscription, "school.toml")
    new = OWN.replace("true", "false") + '[dns]\nmode = "udp"\n'
    web = Web(p=new.encode())
    web.pages["https://w.example/p.minisig"] = other.sign(new.encode())
    with pytest.raises(RemoteError, match="another key"):
        update(profile, fetch=web)
    web.pages["https://w.example/p.minisig"] = signer.sign(new.encode())
    change, _ = update(profile, fetch=web)
    assert change.is_new
    assert (change.profile.tunnel.kill_switch, change.profile.dns.mode) == (False, "udp")
    assert change.profile.subscription == profile.subscription


def test_lists_that_are_signed(signer: Signer, tmp_path: Path) -> None:
    text = (
        f'server = "direct://"\n[rule_sets.x]\nbehavior = "domain"\nurl = "https://w.example/l"\nkey = "{signer.key}"\n'
    )
    (source,) = rule_update.rule_set_sources(parse_text(text, "home.toml"))
    web = Web(l=b"a.example\nb.example\n")
    (outcome,) = rule_update.update([source], tmp_path, fetch=web)
    assert (outcome.state, "signature" in str(outcome.reason)) == ("failed", True)
    assert not (tmp_path / source.path).exists()
    web.pages["https://w.example/l.minisig"] = signer.sign(b"a.example\nb.example\n")
    (outcome,) = rule_update.update([source], tmp_path, fetch=web)
    assert (outcome.state, outcome.count) == ("updated", 2)
    web.pages["https://w.example/l"] = b"a.example\nb.example\nc.example\n"
    (outcome,) = rule_update.update([source], tmp_path, fetch=web)
    assert outcome.state == "failed"
    assert (tmp_path / source.path).read_bytes() == b"a.example\nb.example\n"


def test_a_profile_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(OWN)
    assert import_profile(read_source(str(path))).profile.tunnel.kill_switch
