"""Numbers, addresses and URLs that others wrote: one documented error each, whatever they are."""

from __future__ import annotations

import contextlib
import json
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunflow.addresses import NotAnAddress, ip_address, ip_interface, ip_network
from tunflow.cli import main
from tunflow.dns.fake_ip import FakeIPMap
from tunflow.dns.names import reverse_address
from tunflow.dns.upstream import parse_upstream
from tunflow.errors import LocalError
from tunflow.numbers import NotANumber, whole_number
from tunflow.profiles.imports.importer import read_source
from tunflow.profiles.imports.yaml_lines import YAMLDocument
from tunflow.profiles.store import parse_text
from tunflow.protocols.registry import parse_server
from tunflow.providers.dns_settings import DNSOverHTTPSSettings
from tunflow.providers.proxy_settings import ProxySettings
from tunflow.single_values import text_json_value
from tunflow.testing.rule_lines import parse_rules
from tunflow.tunnel.explain import parse_destination
from tunflow.urls import URL, NotAURL, parse_url


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("0080", 80), (b"65535", 65535)])
def test_numbers(text, number):
    assert whole_number(text, 65535) == number


@pytest.mark.parametrize(
    "text",
    ["", "65536", "1_0", "+1", "-1", " 1", "1\n", "\u0661", "\uff11", "1.0", "0x1", "1" * 10_000, b"\xb2", "\u00b2"],
)
def test_what_is_no_number(text):
    with pytest.raises(NotANumber):
        whole_number(text, 65535)


def test_numbers_of_other_bases():
    assert whole_number("fF", 255, base=16) == 255
    assert whole_number("17", 255, base=8) == 15
    with pytest.raises(NotANumber):
        whole_number("8", 255, base=8)


def test_values_of_json_texts():
    assert text_json_value('{"a": [1, "\\ud83d\\ude00"]}') == text_json_value(
        b'\xef\xbb\xbf{"a":[1,"\xf0\x9f\x98\x80"]}'
    )


@pytest.mark.parametrize(
    "text",
    ['"\\ud800"', '{"\\uDFFF": 1}', '"\ud800"', b'"\xed\xa0\x80"', b'"\xff"', "[" * 100_000, "{", "1" * 9999],
)
def test_what_is_no_json_text(text):
    """Half of a character too: nobody can write it again."""
    with pytest.raises(ValueError, match=r"."):
        text_json_value(text)


@pytest.mark.parametrize("key", ["ps", "path", "host", "sni", "id"])
def test_a_link_that_says_half_of_a_character_is_refused(key):
    values = {"add": "h", "port": 1, "id": "01234567-89ab-cdef-0123-456789abcdef", "net": "ws", key: "\ud800"}
    with pytest.raises(LocalError):
        parse_server("vmess://" + b64encode(json.dumps(values).encode()).decode())


def test_yaml_that_says_half_of_a_character_is_refused():
    """An anchor that is given again is read by another reader, which took it."""
    with pytest.raises(LocalError, match=r"a\.yaml:2"):
        YAMLDocument('rules: [&a x, &a y, *a]\nname: "\\ud800"\n', "a.yaml")
    with pytest.raises(LocalError, match="UTF-8"):
        parse_text("rules: [MATCH,DIRECT]\nname: \ud800\n", "a.yaml")


def test_a_zone_is_kept_only_where_it_is_wanted():
    assert str(ip_address("fe80::1%eth0", zone=True)) == "fe80::1%eth0"
    for take in (ip_address, lambda text: ip_interface(f"{text}/64")):
        with pytest.raises(NotAnAddress):
            take("fe80::1%eth0")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("http://a.Example:81/x?y#z", URL("http", None, "a.example", 81, "/x", "y")),
        ("HTTPS://u:p@[2001:DB8::1]", URL("https", "u:p", "2001:db8::1", None, "", "")),
        ("//a:", URL("", None, "a", None, "", "")),
        ("http://[fe80::1%25eth0]/", URL("http", None, "fe80::1%25eth0", None, "/", "")),
        ("file:/x", URL("file", None, "", None, "/x", "")),
    ],
)
def test_urls(text, parts):
    assert parse_url(text) == parts


def test_what_a_request_says_of_a_url():
    url = parse_url("http://u:secret@[::1]:81?q")
    assert (url.where, url.target) == ("[::1]:81", "/?q")


@pytest.mark.parametrize(
    "text",
    [
        "http://[]/",
        "http://[1.2.3.4]/",
        "http://u@]a/",
        "http://[::1]x/",
        "http://a[b/",
        "https://[",
        "http://a:99999/",
        "http://a:1:2/",
        "http://a:\u0661/",
        "http://a:8_0/",
        "http://a\n/",
        "http://a b/",
        "http://\x00/",
    ],
)
def test_what_is_no_url(text):
    with pytest.raises(NotAURL):
        parse_url(text)


@given(st.text())
def test_any_text_has_the_documented_error_or_none(text):
    for take, error in (
        (lambda text: whole_number(text, 10), NotANumber),
        (ip_address, NotAnAddress),
        (ip_network, NotAnAddress),
        (ip_interface, NotAnAddress),
        (parse_url, NotAURL),
        (lambda text: parse_url(f"http://[{text}"), NotAURL),
    ):
        with contextlib.suppress(error):
            take(text)


MANY = "9" * 10_000
TURNS = "\u0661\u0660"  # Arabic-Indic digits


@pytest.mark.parametrize(
    "read",
    [
        lambda: read_source("https://["),
        lambda: parse_upstream(f"1.1.1.1#{MANY}"),
        lambda: ProxySettings(proxy_auto_configuration_url="https://["),
        lambda: DNSOverHTTPSSettings((), "https://["),
        lambda: parse_destination("https://a:8_0/"),
        lambda: parse_destination("https://[1.2.3.4]/"),
        lambda: list(parse_rules([f"DST-PORT,{TURNS},DIRECT"], "rules.txt")),
    ],
)
def test_who_reads_it_says_so_in_one_line(read):
    with pytest.raises(LocalError) as told:
        read()
    assert "\n" not in str(told.value)


def test_a_file_of_fake_addresses_with_numbers_that_are_none():
    pool = FakeIPMap()
    assert pool.load([pool.header, f"{MANY} a.example", "1_0 b.example", "7 c.example"])
    assert list(pool.lines())[1:] == ["7 c.example"]


def test_a_name_under_in_addr_arpa_is_of_plain_numbers():
    assert reverse_address(b"\x011\x010\x010\x03127\x07in-addr\x04arpa\0") == bytes((127, 0, 0, 1))
    assert reverse_address(b"\x031_0\x010\x010\x03127\x07in-addr\x04arpa\0") is None


def test_a_size_of_ten_thousand_digits(capsys):
    assert main(["run", "--memory-limit", MANY, "--server", "direct://", "--", "true"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
