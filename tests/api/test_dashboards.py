"""What metacubexd, yacd and zashboard ask, as their sources write it: method, path, parameters, body.

metacubexd packages/ui/composables/useApi.ts, yacd src/api/*.ts, zashboard src/api/clash.ts; read in November 2026.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from api_rig import Rig

from tunflow.tunnel.rule_update import UpdateOutcome

URL = "https://www.gstatic.com/generate_204"


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/version", None, 200),
        ("GET", "/configs", None, 200),
        ("PATCH", "/configs", {"mode": "rule"}, 204),
        ("PATCH", "/configs", {"mode": "global"}, 400),
        ("PUT", "/configs?force=true", {"path": "", "payload": ""}, 400),
        ("PUT", "/configs?reload=true", {"path": "", "payload": ""}, 400),
        ("GET", "/proxies", None, 200),
        ("PUT", "/proxies/pick", {"name": "b"}, 204),
        ("DELETE", "/proxies/pick", None, 400),
        ("GET", f"/proxies/a/delay?url={URL}&timeout=5000", None, 200),
        ("GET", f"/proxies/a/delay?timeout=5000&url={URL}&expected=", None, 200),
        ("GET", f"/group/pick/delay?url={URL}&timeout=5000", None, 200),
        ("GET", "/providers/proxies", None, 200),
        ("GET", "/providers/proxies/home", None, 200),
        ("PUT", "/providers/proxies/home", None, 400),
        ("GET", "/providers/proxies/home/healthcheck?timeout=5000", None, 200),
        ("GET", f"/providers/proxies/home/a/healthcheck?url={URL}&timeout=5000", None, 200),
        ("GET", "/providers/proxies/nobody", None, 404),
        ("GET", "/providers/proxies/nobody/healthcheck", None, 404),
        ("GET", "/rules", None, 200),
        ("PATCH", "/rules/disable", {"0": True}, 400),
        ("GET", "/providers/rules", None, 200),
        ("PUT", "/providers/rules/list", None, 400),
        ("GET", "/connections", None, 200),
        ("DELETE", "/connections", None, 204),
        ("DELETE", "/connections/17", None, 404),
        ("GET", "/dns/query?name=router.home&type=A", None, 200),
        ("POST", "/cache/fakeip/flush", None, 400),
        ("POST", "/cache/dns/flush", None, 204),
        ("POST", "/configs/geo", None, 400),
        ("POST", "/upgrade", None, 400),
        ("POST", "/upgrade/ui", None, 400),
        ("POST", "/upgrade?channel=alpha", None, 400),
        ("POST", "/restart", None, 400),
        ("GET", "/storage/zashboard", None, 404),
        ("GET", "/group/weights", None, 404),
    ],
)
def test_what_dashboards_ask(rig: Rig, method: str, path: str, body: object, status: int) -> None:
    """Each is answered or refused with a line: none with 405, 500 or a page that is no JSON."""
    answer = rig.http.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    if status >= 400:
        assert answer.json()["message"]
    elif status == 200:
        assert isinstance(answer.json(), dict)


def test_where_servers_come_from(rig: Rig) -> None:
    answer = rig.http.get("/providers/proxies")
    (provider,) = answer.json()["providers"].values()
    assert (provider["name"], provider["vehicleType"]) == ("home", "HTTP")
    assert [each["name"] for each in provider["proxies"]] == ["a", "b"]
    assert "secret-token" not in answer.text


def test_where_rules_come_from(rig: Rig) -> None:
    assert rig.http.get("/providers/rules").json()["providers"]["list"] == {
        "name": "list",
        "type": "Rule",
        "behavior": "Domain",
        "format": "TextRule",
        "vehicleType": "Inline",
        "ruleCount": 2,
        "updatedAt": "0001-01-01T00:00:00Z",
    }


def test_a_query_for_a_name(rig: Rig) -> None:
    found = rig.http.get("/dns/query", params={"name": "router.home"}).json()
    assert found["Status"] == 0
    assert found["Question"] == [{"Name": "router.home.", "Qtype": 1, "Qclass": 1}]
    assert [each["data"] for each in found["Answer"]] == ["192.0.2.7"]


@pytest.mark.parametrize("params", [{}, {"name": ""}, {"name": "a..b"}, {"name": "a.example", "type": "WHAT"}])
def test_a_query_that_is_none(rig: Rig, params: dict[str, str]) -> None:
    answer = rig.http.get("/dns/query", params=params)
    assert answer.status_code == 400
    assert answer.json()["message"]


LISTED = """
[server_lists.provider]
url = "https://provider.example/secret-path"
servers = ["a"]
fetched = "2026-01-02T03:04:05+00:00"
[rule_sets.other]
behavior = "domain"
lines = ["third.example"]
"""


class Lists:
    """As `ListRefresh`: fetches at once, and fails with `reason`."""

    def __init__(self, reason: str | None = None) -> None:
        self.reason = reason
        self.asked: list[str] = []

    def fetch_now(self, name: str, done: Callable[[UpdateOutcome], None]) -> bool:
        self.asked.append(name)
        if name.endswith("list"):  # it has no address
            return False
        done(UpdateOutcome(name, "failed" if self.reason else "updated", reason=self.reason))
        return True


def test_a_list_of_servers_is_a_provider_that_is_fetched_again() -> None:
    made = Rig(more=LISTED)
    try:
        answer = made.http.get("/providers/proxies")
        providers = answer.json()["providers"]
        assert list(providers) == ["home", "provider"]
        assert [each["name"] for each in providers["provider"]["proxies"]] == ["a"]
        assert providers["provider"]["updatedAt"] == "2026-01-02T03:04:05+00:00"
        assert "secret-path" not in answer.text
        path = "/providers/proxies/provider"
        refused = made.http.put(path)
        assert (refused.status_code, "tunflow rules update" in refused.text) == (400, True)
        lists = Lists()
        made.api.fetch_by(lists)
        assert made.http.put(path).status_code == 204
        assert made.http.put("/providers/rules/other").status_code == 204
        assert made.http.put("/providers/rules/nobody").status_code == 404
        assert made.http.put("/providers/rules/list").status_code == 400
        assert made.http.put("/providers/proxies/home").status_code == 400
        assert lists.asked == ["server list provider", "rule set other", "rule set list"]
        lists.reason = "no route to host"
        failed = made.http.put(path)
        assert (failed.status_code, failed.json()["message"]) == (
            503,
            "server list provider stays as it was: no route to host",
        )
    finally:
        made.close()
