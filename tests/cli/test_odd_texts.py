"""What stands where a host, a port, a URL or a file is expected: one line, exit status 2, no traceback."""

from __future__ import annotations

import base64
import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunflow.cli import main
from tunflow.errors import LocalError
from tunflow.profiles.imports.fetch import basic_authorization, fetch, web_address

HOSTS = [
    "a..b",
    ".a",
    "..",
    "-",
    "",
    f"{'a' * 64}.com",
    "a." * 130 + "a",
    "a b",
    "a\tb",
    "a\nb",
    "\x1b[31m",
    "\udcff",
    "[",
    "[]",
    "[::1",
    "::1]",
    "[::1]x",
    "[fe80::1%lo]",
    "a%00b",
    "a\\b",
    "*.a",
    "1.2.3",
    "1.2.3.4.5",
    "256.1.1.1",
    "0x7f.1",
    "a\u3002\u3002b",
    "\u202e",
]
PORTS = ["0", "65536", "-1", "+1", "1_0", "\uff11", "9" * 5000, " 1", "0x1", "1e3"]
URLS = [
    *(f"https://{host}/list" for host in HOSTS),
    *(f"http://{host}:81/list" for host in HOSTS),
    *(f"https://list.example:{port}/" for port in PORTS),
    "https://",
    "https:///x",
    "ssconf://a..b/",
    "https://user:pw@a..b/",
]
LINKS = [
    *(f"socks5://h:{port}" for port in PORTS),
    *(f"socks5://{host}:1" for host in ("a..b", "a b", "a\nb", "[", "[]", "[::1", "[::1]x", "", "\x1b[31m", "a" * 300)),
    "://",
    "ss://",
    "ss://%%%",
    "vmess://e30",
    "vmess://W10=",
    "vless://@",
    "openvpn://AAAA",
    "wireguard://x@h:1",
    "nosuch://a:1",
]
TEXTS = ["", " ", "\x1b[31m", "a\nb", "\udcff", "://", "9" * 5000, "~nosuch/x.toml", "\0/x.toml", "\ud800/x.toml"]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
    """The command is the user's mistake and says so in one line that a terminal only shows."""
    assert main(arguments) == 2, arguments
    line = capsys.readouterr().err
    assert line.startswith("tunflow: "), arguments
    assert line.endswith("\n")
    assert line[:-1].isprintable(), arguments


@pytest.fixture(autouse=True)
def nobody_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("TUNFLOW_SERVER", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("url", URLS)
def test_web_addresses(capsys, url):
    refused(capsys, "profile", "import", url)
    refused(capsys, "rules", "update", "--url", url)


@pytest.mark.parametrize("link", LINKS)
def test_links(capsys, link):
    refused(capsys, "profile", "add", "n", link)
    refused(capsys, "profile", "import", "--name", "n", link)
    refused(capsys, "run", "--server", link, "--", "true")
    refused(capsys, "listen", "--server", link)
    refused(capsys, "serve", link)
    refused(capsys, "attach", "--fd", "99", "--server", link)


@pytest.mark.parametrize("text", ["", "\0/x", "\ud800/x", "/dev/null/x", "no such folder/x", "x" * 5000])
def test_devices_and_records_of_packets(capsys, text):
    refused(capsys, "attach", "--server", "direct://", "--device", text)
    refused(capsys, "attach", "--server", "direct://", "--fd", "0", "--pcap", text)
    refused(capsys, "run", "--server", "direct://", "--pcap", text, "--", "true")


@pytest.mark.parametrize("text", TEXTS)
def test_names_of_profiles_and_files(capsys, text):
    for action in ("show", "remove", "update"):
        refused(capsys, "profile", action, text)
    refused(capsys, "rules", "update", text)
    refused(capsys, "filter", "lists", text)
    refused(capsys, "filter", "test", "--list", text, "a.example")
    refused(capsys, "explain", "--profile", text, "a.example")
    refused(capsys, "run", "--profile", text, "--", "true")
    refused(capsys, "groups", "test", "--profile", text)
    refused(capsys, "service", "install", "--print", text)
    refused(capsys, "run", "--provider", text, "--", "true")
    refused(capsys, "listen", "--server", "direct://", text)


@pytest.mark.parametrize("host", ["a..b", "[", "[]", "[::1", "[::1]x", "\x1b[31m", "a\nb", "a b", "\udcff", "\0"])
def test_resolvers_and_listeners(capsys, host):
    for mode in (
        f"tcp://{host}",
        f"tls://{host}@1.1.1.1",
        f"https://{host}/dns-query",
        f"cache,{host}",
        f"fake,{host}",
    ):
        refused(capsys, "run", "--server", "direct://", "--dns", mode, "--", "true")
    refused(capsys, "run", "--server", "direct://", "--api", f"{host}:9090", "--", "true")
    refused(capsys, "listen", "--server", "direct://", f"{host}:0" if host != "[]" else "[]")
    refused(capsys, "serve", f"ss://aes-256-gcm:p@{host}:0")
    refused(capsys, "explain", "--profile", "x.toml", f"{host}:1:2")
    refused(capsys, "filter", "test", "--list", "x", f"https://{host}/")


@pytest.mark.parametrize(
    "text",
    [
        '[filter]\n[[filter.lists]]\nname = "a"\nfile = "{}"\n',
        '[filter]\npage = "{}"\n',
        'rules = ["RULE-SET,a,DIRECT", "MATCH,DIRECT"]\n[rule_sets.a]\nbehavior = "domain"\nfile = "{}"\n',
        'geoip = "{}"\nrules = ["GEOIP,CN,DIRECT", "MATCH,DIRECT"]\n',
    ],
    ids=["list", "page", "rule set", "geoip"],
)
@pytest.mark.parametrize("file", ["a\\u0000b", "~nosuch/b", "\\u001b[31m"])
def test_files_that_a_profile_names(capsys, tmp_path, text, file):
    profile = tmp_path / "p.toml"
    profile.write_text('server = "direct://"\n' + text.format(file) if "geoip" not in text else text.format(file))
    refused(capsys, "run", "--profile", str(profile), "--", "true")


@pytest.mark.parametrize("path", ['"a\\0b"', "~nosuch/b", '"\\ud800"'])
def test_files_that_a_clash_configuration_names(capsys, tmp_path, path):
    file = tmp_path / "c.yaml"
    provider = f"{{type: file, path: {path}}}"
    group = "{name: g, type: select, use: [p]}"
    file.write_text(f"proxy-providers: {{p: {provider}}}\nproxy-groups: [{group}]\nrules: ['MATCH,g']\n")
    refused(capsys, "run", "--profile", str(file), "--", "true")


@settings(max_examples=60)
@given(st.text())
def test_any_text_as_a_web_address(text):
    for url in (text, f"https://{text}", f"https://{text}/", f"https://h/{text}"):
        with contextlib.suppress(LocalError):
            address = web_address(url)
            assert address.isascii()
            assert web_address(address) == address


def test_a_web_address_in_another_script():
    assert (
        web_address("https://b\u00fccher.example/\u00fc?\u00fc=%20#x")
        == "https://xn--bcher-kva.example/%C3%BC?%C3%BC=%20"
    )


def test_a_web_address_with_a_password():
    """RFC 7617; the password is never part of what is said."""
    assert basic_authorization("us%40er:p%3Aw") == "Basic " + base64.b64encode(b"us@er:p:w").decode()
    with pytest.raises(LocalError) as told:
        fetch("https://user:SECRET@a..b/TOKEN")
    assert not {"SECRET", "TOKEN"} & set(str(told.value).replace(":", " ").replace("/", " ").split())
