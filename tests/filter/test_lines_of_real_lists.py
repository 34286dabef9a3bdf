"""Lines as real lists have them, each standing for its kind: what they block, and what is told of them."""

from __future__ import annotations

import pytest

from tunflow.filter.block_list import BlockList


def blocked(lines, asked):
    host = asked.partition("://")[2].partition("/")[0] or asked
    finding = BlockList("test", lines).find(host, asked if "://" in asked else None)
    return finding is not None and finding.blocked


@pytest.mark.parametrize(
    ("lines", "asked", "verdict"),
    [
        (["||adserver."], "adserver.example.com", True),
        (["||adserver."], "adserver", False),
        (["||adserver."], "myadserver.example.com", False),
        (["||adservice.google."], "adservice.google.de", True),
        (["||23.109.82."], "23.109.82.17", True),
        (["||23.109.82."], "123.109.82.17", False),
        (["||example.org"], "example.org.attacker.test", True),
        (["||example.org"], "www.example.organic.test", True),
        (["||example.org"], "badexample.org", False),
        (["||example.org^"], "example.org.attacker.test", False),
        (["||example.org^*"], "www.example.org", True),
        (["||example.org^|"], "www.example.org", True),
        ([".aspx?adid="], "http://x.example/p.aspx?adid=3", True),
        ([".php?ad="], "http://x.example/p.php?ad=3", True),
        ([".300x250_"], "http://x.example/p.300x250_b.gif", True),
        (["_banner.gif?"], "http://x.example/top_banner.gif?u=1", True),
        (["-ads.js"], "http://x.example/my-ads.js", True),
        (["ads-"], "http://x.example/ads-1", True),
        (["adserver."], "adserver.example.com", True),
        (["adserver."], "http://x.example/adserver.js", True),
        (["adserver."], "x.adserver", False),
        (["&ad="], "http://x.example/?a&ad=1", True),
        ([r"/^ads?[0-9]*\./"], "ads1.example.com", True),
        ([r"/^ads?[0-9]*\./"], "http://ads1.example.com/", True),
        ([r"/^ads?[0-9]*\./", r"@@/^ads\.ok\.example$/"], "ads.ok.example", False),
        ([r"/^ads?[0-9]*\./", r"@@/^ads\.ok\.example$/"], "ads.bad.example", True),
        (["*.track.example", "*.other.example"], "track.example", True),
        (["*.track.example", "*.other.example"], "a.track.example", True),
        (["! head", "# more", "", "*.track.example"], "track.example", True),
        (["*.track.example", "plain.example"], "track.example", False),
        (["||*.track.example^"], "track.example", False),
        (["||bad^", "||bad^$badfilter"], "bad", False),
        (["||bad^$badfilter", "||bad^"], "bad", False),
        (["||bad^", "||bad^$important,badfilter"], "bad", True),
        (["||bad^$important", "||bad^", "||bad^$important,badfilter"], "bad", True),
        (["-ads-", "-ads-$badfilter"], "http://h.example/-ads-", False),
        (["/ads[0-9]/", "/ads[0-9]/$badfilter"], "http://h.example/ads1", False),
        (["||h.example/x", "||h.example/x$badfilter"], "http://h.example/x", False),
        (["||bad^", "@@||bad^$popup"], "bad", True),
        (["||bad^$popup"], "bad", False),
        (["||bad^$document"], "bad", False),
        (["||bad^", "@@||bad^$document"], "bad", True),
        (["||bad^$~image"], "bad", True),
        (["||bad^", "@@||bad^$~image"], "bad", True),
        (["||bad^$first-party"], "bad", False),
        (["||bad^$_____"], "bad", True),
        (["||bad.example^$denyallow=ok.bad.example"], "x.bad.example", True),
        (["||bad.example^$denyallow=ok.bad.example|fine.bad.example"], "a.ok.bad.example", False),
        (["*$denyallow=com|org"], "bad.example", True),
        (["*$denyallow=com|org"], "www.good.org", False),
        (["||bad^$dnsrewrite=NXDOMAIN"], "bad", True),
        (["||bad^$dnsrewrite=192.0.2.1"], "bad", False),
        (["||bad^$dnstype=AAAA"], "bad", False),
        (["||bad^$client=192.0.2.1"], "bad", False),
        (["||bad^$ctag=device_tv"], "bad", False),
        ([".bad.example"], "bad.example", True),
        ([".bad.example"], "a.bad.example", True),
        (["||x.example^", ".bad.example"], "bad.example", False),
        (["||x.example^", ".skim.js"], "http://h.example/a.skim.js", True),
        (["216.239.38.120 www.google.com"], "www.google.com", False),
        (["127.0.0.1 bad.example"], "bad.example", True),
        ([":: bad.example"], "bad.example", True),
        (["0 bad.example"], "bad.example", True),
        (["|http://ads."], "http://ads.x.example/", True),
        (["|http://ads."], "http://x.ads.example/", False),
        (["|http://ad"], "http://ads.x.example/", True),
        (["|http://bad.example"], "bad.example", True),
        (["|http://ads/"], "http://ads.x.example/", False),
        (["!#if adguard", "||bad^", "!#endif", "||other^"], "bad", False),
        (["!#if adguard", "||bad^", "!#endif", "||other^"], "other", True),
        (["!#if adguard", "||bad^", "!#else", "||other^", "!#endif"], "other", True),
        (["!#if !adguard && !(ext_ublock || env_mobile)", "||bad^", "!#endif"], "bad", True),
        (["!#if ext_ublock", "!#if true", "||bad^", "!#endif", "||more^", "!#endif"], "more", False),
        (["!+ PLATFORM(windows)", "||bad^", "||other^"], "bad", False),
        (["!+ PLATFORM(windows)", "||bad^", "||other^"], "other", True),
        (["!+ NOT_PLATFORM(windows)", "||bad^"], "bad", True),
    ],
)
def test_what_is_blocked(lines, asked, verdict):
    assert blocked(lines, asked) is verdict


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("||bad^$popup", "depends on $popup"),
        ("@@||bad^$document", "depends on $document"),
        ("||bad^$third-party,script", "depends on $third-party"),
        ("||bad^$dnsrewrite=NOERROR;HTTPS;1 . alpn=h3", "depends on $dnsrewrite with a record of type HTTPS"),
        ("||bad^$dnsrewrite=NOERROR;SVCB;1 .", "depends on $dnsrewrite with a record of type SVCB"),
        ("$csp=script-src 'self' *,domain=a.example|b.example", "depends on $csp"),
        ("@@||a.example/?s=$csp=script-src 'self' 'unsafe-inline'", "depends on $csp"),
        ("!#include more.txt", "!#include: give that list a [[filter.lists]] of its own"),
        ("/a(?=b)/", "a regular expression with look-around"),
        ("example.com##.ad", "about what a page shows"),
    ],
)
def test_what_is_not_kept_is_counted_by_its_reason(line, why):
    made = BlockList("test", [line])
    assert (dict(made.not_kept), made.broken, len(made)) == ({why: 1}, 0, 0)


def test_what_stands_in_a_condition_for_others_is_told():
    made = BlockList("test", ["!#if adguard", "||a^", "||b^", "!#endif"])
    assert dict(made.not_kept) == {"for other blockers (!#if, !+)": 2}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (r"(^|\.)bad\.example$", r"a regular expression stands between slashes: write /(^|\.)bad\.example$/"),
        (r"^ad[sx]?[0-9]*\.", r"a regular expression stands between slashes: write /^ad[sx]?[0-9]*\./"),
        ("address=/bad.example/0.0.0.0", "dnsmasq's configuration: write ||bad.example^"),
        ("server=/bad.example/", "dnsmasq's configuration: write ||bad.example^"),
        ("local=/bad.example/", "dnsmasq's configuration: write ||bad.example^"),
        ("DOMAIN-SUFFIX,bad.example", "a rule of Clash or Surge: write ||bad.example^"),
        ("DOMAIN-SUFFIX,bad.example,REJECT", "a rule of Clash or Surge: write ||bad.example^"),
        ("  - DOMAIN,bad.example", "a rule of Clash or Surge: write ||bad.example^"),
        ("DOMAIN-KEYWORD,ads", "a rule of Clash or Surge: a list has names and patterns"),
        ("payload:", "a rule of Clash or Surge: a list has names and patterns"),
        ("  - '+.bad.example'", "a rule set of Clash: write ||bad.example^"),
        ("+.bad.example", "a rule set of Clash: write ||bad.example^"),
        ("  - bad.example", "a rule set of Clash: write ||bad.example^"),
        ("domain:bad.example:@ads", "a list of Xray: write ||bad.example^"),
        ("full:bad.example", "a list of Xray: write ||bad.example^"),
        ("regexp:^ads[0-9]", "a list of Xray: a list has names and patterns"),
        ('local-zone: "bad.example" always_nxdomain', "Unbound's configuration: write ||bad.example^"),
        ('zone "bad.example" { type master; };', "BIND's configuration: write ||bad.example^"),
        ("bad.example CNAME .", "a response policy zone: write ||bad.example^"),
        ("*.bad.example 60 IN CNAME .", "a response policy zone: write ||bad.example^"),
        ("10.0.0.0/8", "a network of addresses: only single ones can be listed"),
        ("!#if (", "a condition ends where a name is expected"),
        ("x" * 70_000, "longer than 65536 characters"),
    ],
)
def test_what_other_programs_write_is_told_with_the_form_that_works(line, told):
    made = BlockList("test", [line])
    assert [complaint.why for complaint in made.complaints] == [told]
    assert len(made) == 0


def test_rules_that_would_be_tried_for_every_url_are_limited_and_told():
    made = BlockList("test", [f"a*{letter}*{other}" for letter in "abcdefghijklmnopq" for other in "bcdefghijklmnopqr"])
    assert len(made) == 200
    assert dict(made.not_kept) == {"without a text of four characters, beyond the first 200": 17 * 17 - 200}


def test_many_keywords_do_not_use_up_what_an_answer_may_cost():
    words = [f"word{number:04}x" for number in range(5000)]
    made = BlockList("test", words)
    assert len(made) == 5000
    url = "http://h.example/aword0700xb?" + "q" * 500
    finding = made.find("h.example", url)
    assert finding is not None
    assert finding.line == 701
