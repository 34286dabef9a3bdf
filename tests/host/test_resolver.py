from __future__ import annotations

import pytest

from tunflow.host.program.resolver import nsswitch_conf, resolv_conf


def test_the_only_nameserver_is_the_one_asked_for() -> None:
    host = "# by NetworkManager\nnameserver 127.0.0.53\nnameserver ::1\nnameserver\t192.168.1.1\n"
    assert resolv_conf(host, "198.18.0.2") == "nameserver 198.18.0.2\n"


def test_search_list_and_options_stay() -> None:
    host = "search corp.example  example.org\nnameserver 10.0.0.1\noptions ndots:2\tedns0\ndomain x.example\n; end\n"
    assert resolv_conf(host, "198.18.0.2") == (
        "nameserver 198.18.0.2\nsearch corp.example example.org\noptions ndots:2 edns0\ndomain x.example\n"
    )


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ("options edns0 trust-ad\n", "options edns0\n"),
        ("options trust-ad\n", ""),
        ("options\n", ""),
    ],
)
def test_the_host_resolver_is_no_longer_vouched_for(options: str, kept: str) -> None:
    assert resolv_conf(options, "198.18.0.2") == "nameserver 198.18.0.2\n" + kept


@pytest.mark.parametrize(
    ("sources", "kept"),
    [
        ("files dns", "files dns"),
        ("mymachines resolve [!UNAVAIL=return] files myhostname dns", "files myhostname dns"),
        ("files mdns4_minimal [NOTFOUND=return] dns", "files dns"),
        ("files mdns4_minimal [ NOTFOUND = return ] resolve", "files dns"),
        ("dns files", "dns files"),
        ("sss wins", "files dns"),
        ("resolve", "files dns"),
        ("files dns # resolve", "files dns"),
        ("", "files dns"),
    ],
)
def test_host_names_are_asked_of_no_daemon(sources: str, kept: str) -> None:
    assert nsswitch_conf(f"hosts:\t{sources}\n") == f"hosts: {kept}\n"


def test_other_databases_stay_as_they_are() -> None:
    text = "# hosts: sss\npasswd:  files sss\nnetworks: files\n\nnetgroup: nis\n"
    assert nsswitch_conf(text) == text


def test_every_hosts_line_counts() -> None:
    assert nsswitch_conf("hosts: dns\n hosts : resolve\n") == "hosts: dns\nhosts: files dns\n"
