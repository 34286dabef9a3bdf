"""A Surge configuration as a profile: what was taken, and what is said of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunflow.errors import LocalError, RemoteError
from tunflow.profiles.imports.importer import ImportSource, import_profile
from tunflow.profiles.imports.surge import read_surge
from tunflow.profiles.profile import Profile
from tunflow.profiles.store import load_profile

A = "a = ss, h.example, 8388, encrypt-method=aes-256-gcm, password=p\n"
ID = "00000000-0000-0000-0000-000000000000"


def taken(text: str, file: str = "s.conf", fetch=None) -> tuple[Profile, list[str], list[str]]:
    """The profile, what was lost, and what was only told."""
    draft = read_surge(text, file, fetch)
    profile = draft.profile("s")
    said = {lost: [f"{e.place} {e.reason}" for e in draft.told if e.is_lost is lost] for lost in (True, False)}
    return profile, said[True], said[False]


def test_a_small_file_gives_its_server() -> None:
    made = import_profile(
        ImportSource(
            f"[General]\nloglevel = notify\n[Proxy]\n{A}[Rule]\nFINAL,a,dns-failed\n".encode(), "surge.conf", "x"
        )
    )
    assert made.profile.servers["a"].url.server.label == "ss://aes-256-gcm@h.example:8388#a"
    assert made.profile.rules == ("FINAL,a,dns-failed",)
    assert made.is_whole
    assert not made.lost


@pytest.mark.parametrize(
    ("line", "link"),
    [
        (
            'ss, 192.0.2.1, 8388, encrypt-method=aes-256-gcm, password="p,w"',
            "ss://YWVzLTI1Ni1nY206cCx3@192.0.2.1:8388#x",
        ),
        ("http, h.example, 8080, user, cGFzcw==", "http://user:cGFzcw%3D%3D@h.example:8080#x"),
        ("https, h.example, 443, username=u, password=p", "https://u:p@h.example:443#x"),
        ("socks5, 2001:db8::1, 1080", "socks5://[2001:db8::1]:1080#x"),
        ("trojan, h.example, 443, password=p, sni=s.example", "trojan://p@h.example:443?sni=s.example#x"),
        ("trojan, h.example, 443, password=p, skip-cert-verify=true", "trojan://p@h.example:443?allowInsecure=1#x"),
        (
            f"vmess, h.example, 443, username={ID}, vmess-aead=true, tls=true, ws=true, ws-path=/w, "
            "ws-headers=Host:cdn.example",
            f"vmess://{ID}@h.example:443?encryption=aes-128-gcm&type=ws&security=tls&host=cdn.example&path=%2Fw#x",
        ),
        ("direct", "direct://"),
        ("reject-tinygif", "block://"),
    ],
)
def test_servers_with_their_options(line: str, link: str) -> None:
    profile, lost, _ = taken(f"[Proxy]\nx = {line} // a note\n{A}[Rule]\nFINAL,x\n")
    assert not lost
    assert profile.servers["x"].url.text == link


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("snell, h.example, 443, psk=p, version=4", "type snell is not supported"),
        ("ss, h.example, 1, encrypt-method=aes-256-gcm, password=p, obfs=http", "obfs is not supported"),
        ("ss, h.example, 1, encrypt-method=aes-256-gcm, password=p, shadow-tls-password=x", "shadow-tls-password"),
        ("ss, h.example, 1, encrypt-method=aes-256-gcm, password=p, mystery=1", "mystery is not known"),
        ("ss, h.example, 99999, encrypt-method=aes-256-gcm, password=p", "port must be a number"),
        (f"vmess, h.example, 443, username={ID}", "vmess-aead is not true"),
        ("trojan, h.example, 443, password=p, sni=off", "sni=off is not supported"),
        ("https, h.example, 443, sni=other.example", "sni is not supported for https"),
        ("trojan, h.example, 443, password=p, ws=true, ws-headers=X-Token:abc", "ws-opts.headers has X-Token"),
        ("ss, h.example, 1, encrypt-method=aes-256-gcm, password=p, underlying-proxy=gone", "'gone' is not a server"),
    ],
)
def test_a_server_that_would_be_another_one_is_lost_and_its_rules_refuse(line: str, why: str) -> None:
    profile, lost, _ = taken(f"[Proxy]\nx = {line}\n{A}[Rule]\nDOMAIN,b.example,x\nFINAL,a\n")
    assert "x" not in profile.servers
    assert profile.rules == ("DOMAIN,b.example,REJECT", "FINAL,a")
    assert any(each.startswith("s.conf:2 proxy 'x': ") and why in each for each in lost), lost


def test_a_server_behind_another_is_a_chain() -> None:
    far = "far = ss, f.example, 1, encrypt-method=aes-256-gcm, password=p, underlying-proxy=a\n"
    profile, lost, _ = taken(f"[Proxy]\n{far}{A}[Rule]\nFINAL,far\n")
    assert not lost
    assert [link.server.first_hop for link in profile.servers["far"].chain] == [
        ("h.example", 8388),
        ("f.example", 1),
    ]


def test_groups_with_their_options() -> None:
    b = A.replace("a =", "b =")
    text = (
        f"[General]\nproxy-test-url = http://t.example/\n[Proxy]\n{A}{b}[Proxy Group]\n"
        "Pick = select, auto, DIRECT, hidden=true\n"
        "auto = url-test, include-all-proxies=true, policy-regex-filter=^b, interval=600, tolerance=50\n"
        "turns = load-balance, a, b\nkeeps = load-balance, a, b, persistent=1\n"
        "like = fallback, include-other-group=keeps\n"
        "wifi = subnet, default = a, SSID:home = DIRECT\n"
        "gone = select, c, DIRECT\n"
        "[Rule]\nDOMAIN,x.example,wifi\nFINAL,Pick\n"
    )
    profile, _, told = taken(text)
    groups = profile.groups
    assert groups["Pick"].servers == ("auto", "DIRECT")
    assert (groups["auto"].servers, groups["auto"].interval, groups["auto"].tolerance) == (("b",), 600.0, 0.05)
    assert groups["auto"].url == "http://t.example/"
    assert [groups[name].strategy for name in ("turns", "keeps")] == ["round-robin", "consistent-hashing"]
    assert groups["like"].servers == ("a", "b")
    assert groups["gone"].servers == ("REJECT",)
    assert profile.rules == ("DOMAIN,x.example,wifi", "FINAL,Pick")
    assert (groups["wifi"].type, groups["wifi"].servers) == ("select", ("a", "DIRECT"))
    assert any(each.startswith("s.conf:12 group 'wifi': it goes by the network") for each in told)
    assert taken(f"[Proxy]\n{A}[Proxy Group]\nw = ssid, SSID:x = a\n")[1] == ["s.conf:4 group 'w': it has no default"]
    assert "s.conf:7 group 'Pick': hidden: a dashboard's" in told


def test_servers_of_a_list_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "more.list").write_text(f"{A}# a note\nb = snell, x, 1, psk=p\n")
    fetched = {"https://l.example/p": b"ss://YWVzLTI1Ni1nY206cA@192.0.2.9:8388#far\n"}

    def fetch(url: str) -> bytes:
        if url not in fetched:
            raise RemoteError("l.example does not answer")
        return fetched[url]

    text = (
        "[Proxy Group]\nfile = select, policy-path=more.list\nweb = select, policy-path=https://l.example/p\n"
        "lost = select, policy-path=https://l.example/none, DIRECT\n[Rule]\nFINAL,file\n"
    )
    profile, lost, _ = taken(text, str(tmp_path / "s.conf"), fetch)
    assert {name: group.servers for name, group in profile.groups.items()} == {
        "file": ("a",),
        "web": ("far",),
        "lost": ("REJECT",),
    }
    assert any("more.list:3 proxy 'b': type snell" in each for each in lost)
    assert any("policy-path: l.example does not answer" in each for each in lost)


def test_rules_with_lists(tmp_path: Path) -> None:
    text = (
        f"[Proxy]\n{A}[Rule]\n"
        "RULE-SET,https://l.example/ads.list,REJECT-TINYGIF,update-interval=3600\n"
        "RULE-SET,https://m.example/ads.list,a,no-resolve\n"
        "RULE-SET,LAN,DIRECT\nRULE-SET,mine,a\nDOMAIN-SET,set.txt,a,extended-matching\n"
        "PROTOCOL,UDP,a\nAND,((DOMAIN,x.example),(DEST-PORT,443)),reject\nPROCESS-NAME,ssh,DIRECT\n"
        "URL-REGEX,^http://x,REJECT\nRULE-SET,SYSTEM,DIRECT\nPROTOCOL,STUN,a\nDOMAIN,y.example,CELLULAR\n"
        "FINAL,a,dns-failed\n[Ruleset mine]\nDOMAIN,mine.example\n"
    )
    profile, lost, told = taken(text, str(tmp_path / "s.conf"))
    assert profile.rules == (
        "RULE-SET,ads.list,REJECT",
        "RULE-SET,ads.list-2,a,no-resolve",
        "GEOIP,LAN,DIRECT",
        "RULE-SET,mine,a",
        "RULE-SET,set.txt,a,extended-matching",
        "NETWORK,udp,a",
        "AND,((DOMAIN,x.example),(DEST-PORT,443)),REJECT",
        "PROCESS-NAME,ssh,DIRECT",
        "DOMAIN,y.example,REJECT",
        "FINAL,a,dns-failed",
    )
    sets = profile.rule_sets
    assert (sets["ads.list"].url, sets["ads.list-2"].url) == (
        "https://l.example/ads.list",
        "https://m.example/ads.list",
    )
    assert (sets["mine"].lines, sets["mine"].behavior) == (("DOMAIN,mine.example",), "classical")
    assert (sets["set.txt"].file, sets["set.txt"].behavior) == (str(tmp_path / "set.txt"), "domain-set")
    assert sets["ads.list"].interval == 3600.0
    for part in ("PROTOCOL STUN", "'CELLULAR': the rule is REJECT"):
        assert any(part in each for each in lost), part
    for part in (
        "URL-REGEX,^http://x,REJECT: is about what is encrypted",
        "RULE-SET,SYSTEM,DIRECT: ",
    ):
        assert any(part in each for each in told), part


@pytest.mark.parametrize(
    ("rule", "final", "is_lost"),
    [
        ("USER-AGENT,App*,a", "FINAL,a", False),
        ("USER-AGENT,App*,REJECT", "FINAL,DIRECT", False),
        ("USER-AGENT,App*,DIRECT", "FINAL,DIRECT", False),
        ("USER-AGENT,App*,a", "FINAL,DIRECT", True),
        ("RULE-SET,SYSTEM,a", "FINAL,DIRECT", True),
    ],
)
def test_a_rule_about_what_is_encrypted_is_told_unless_that_would_open(rule: str, final: str, is_lost: bool) -> None:
    profile, lost, told = taken(f"[Proxy]\n{A}[Rule]\n{rule}\n{final}\n")
    assert bool(lost) is is_lost
    assert any(rule.partition(",")[0] in each for each in (lost if is_lost else told))
    assert profile.rules[-1] == ("MATCH,REJECT" if is_lost else final)


def test_lines_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "servers.dconf").write_text("[Proxy]\n" + A.replace("a =", "b ="))
    (tmp_path / "rules.txt").write_text("DOMAIN,x.example,b\n# a note\nDOMAIN,y.example,REJECT\n")
    text = f"[Proxy]\n#!include servers.dconf\n{A}[Rule]\n#!include rules.txt\nFINAL,a\n"
    profile, lost, _ = taken(text, str(tmp_path / "s.conf"))
    assert not lost
    assert set(profile.servers) == {"a", "b"}
    assert profile.rules == ("DOMAIN,x.example,b", "DOMAIN,y.example,REJECT", "FINAL,a")
    profile, lost, _ = taken(
        text.replace("rules.txt", "gone.txt").replace("FINAL,a", "FINAL,DIRECT"), str(tmp_path / "s.conf")
    )
    assert any("[Rule]: #!include: cannot read" in each for each in lost)
    assert profile.rules == ("MATCH,REJECT",)


def test_a_module_is_named_for_what_it_is() -> None:
    with pytest.raises(LocalError, match="is a module of Surge"):
        taken("#!name=Ads\n#!desc=x\n[Rule]\nDOMAIN,x.example,REJECT\n")


def test_without_a_final_or_with_a_rule_lost_before_direct_the_rest_is_refused() -> None:
    assert taken(f"[Proxy]\n{A}[Rule]\nDOMAIN,x.example,a\n")[0].rules[-1] == "MATCH,REJECT"
    assert taken(f"[Proxy]\n{A}[Rule]\nNONSENSE,x,a\nFINAL,DIRECT\n")[0].rules[-1] == "MATCH,REJECT"
    assert taken(f"[Proxy]\n{A}{A.replace('a =', 'b =')}")[0].rules == ("MATCH,servers",)


@pytest.mark.parametrize("line", ["DOMAIN-REGEX,", "USER-AGENT,x", "NONSENSE"])
def test_a_list_of_which_nothing_is_understood_is_lost_with_its_rule(line: str) -> None:
    profile, lost, _ = taken(f"[Proxy]\n{A}[Ruleset x]\n{line}\n[Rule]\nRULE-SET,x,DIRECT\nFINAL,a\n")
    assert any("[Ruleset x]:1: " in each for each in lost)
    assert profile.rules == ("FINAL,a",)


def test_names_and_settings() -> None:
    text = f"""\
#!MANAGED-CONFIG https://x.example/p interval=60
[General]
dns-server = 223.5.5.5, system
encrypted-dns-server = https://8.8.8.8/dns-query
ipv6 = false
tun-excluded-routes = 192.168.0.0/16, nonsense
encrypted-dns-skip-cert-verify = true
mystery = 1
[Proxy]
{A}[Rule]
FINAL,a
[Host]
nas.example = 192.0.2.9, 2001:db8::9
old.example = new.example
*.dev.example = 127.0.0.1
*.corp.example = server:10.0.0.53
x.example = script:y
a*b.example = 127.0.0.1
z.example = server:system
[URL Rewrite]
^https?://ads\\.example/banner _ reject
^http://www\\.example http://other.example 302
[MITM]
hostname = *
[Nonsense]
a = b
"""
    profile, lost, told = taken(text)
    assert profile.dns.servers == ("https://8.8.8.8/dns-query",)
    assert profile.dns.bootstrap == ("223.5.5.5",)
    assert profile.dns.hide_aaaa
    assert profile.tunnel.excluded_routes == ("192.168.0.0/16",)
    assert profile.dns.hosts == {
        "nas.example": ("192.0.2.9", "2001:db8::9"),
        "old.example": ("new.example",),
        ".dev.example": ("127.0.0.1",),
    }
    assert [(route.domains, route.servers) for route in profile.dns.routes] == [((".corp.example",), ("10.0.0.53",))]
    assert profile.filter is not None
    assert profile.filter.lists[0].lines == ("/^https?://ads\\.example/banner/",)
    for start in (
        "s.conf:6 tun-excluded-routes: nonsense", "s.conf:7 encrypted-dns-skip-cert-verify: ",
        "s.conf:18 Host: x.example: scripts", "s.conf:19 Host: a*b.example: ", "s.conf:20 Host: z.example: ",
        "s.conf:23 URL Rewrite: 302",
    ):  # fmt: skip
        assert any(each.startswith(start) for each in lost), (start, lost)
    for start in ("s.conf:1 #!MANAGED-CONFIG: ", "s.conf:8 mystery: ", "s.conf:24 [MITM]: ", "s.conf:26 [Nonsense]: "):
        assert any(each.startswith(start) for each in told), (start, told)


def test_names_of_targets_that_are_those_targets_are_no_servers() -> None:
    profile, lost, _ = taken(f"[Proxy]\nDIRECT = direct\nREJECT = reject\n{A}[Rule]\nFINAL,a\n")
    assert not lost
    assert set(profile.servers) == {"a"}
    assert "proxy 'DIRECT': the name is taken" in taken(f"[Proxy]\nDIRECT = reject\n{A}[Rule]\nFINAL,a\n")[1][0]


def test_a_file_runs_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "s.conf"
    file.write_text(f"[Proxy]\n{A}[Rule]\nDOMAIN,x.example,a\nFINAL,DIRECT\n")
    assert load_profile(str(file)).rules == ("DOMAIN,x.example,a", "FINAL,DIRECT")
