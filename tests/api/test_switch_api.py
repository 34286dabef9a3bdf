"""The switch of the tunnel and its profiles, over the API; what answers is a control socket's handler of the test."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from api_rig import SECRET, Rig

from tunflow.api.switch import TunnelSwitch
from tunflow.control.messages import ControlRequest
from tunflow.errors import LocalError
from tunflow.host.rights.open_file import open_file


class Tunnel:
    """A loop that answers as the tunnel's process does."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[ControlRequest] = []
        self.profiles = {name: folder / f"{name}.toml" for name in ("home", "work")}
        for name, path in self.profiles.items():
            path.write_text(f'server = "socks5://{name}.example:1080"\n')
        self.profile = self.profiles["home"]
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    async def handle(self, request: ControlRequest) -> dict[str, object]:
        self.asked.append(request)
        if request.operation == "reload":
            if "work" in str(request.arguments["text"]) and not os.access(self.profiles["home"], os.F_OK):
                raise LocalError("work.toml:1: it is wrong")
            self.profile = Path(request.arguments["profile"])
            return {"notes": ["the kill switch is on now"]}
        return {"status": "connected", "profile": str(self.profile), "servers": ["socks5"], "kill_switch": True}

    def switch(self) -> TunnelSwitch:
        async def make() -> TunnelSwitch:
            return TunnelSwitch(self.handle, self.profiles, open_file)

        return asyncio.run_coroutine_threadsafe(make(), self.loop).result(60)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(60)
        self.loop.close()


@pytest.fixture
def tunnel(tmp_path: Path) -> Iterator[Tunnel]:
    made = Tunnel(tmp_path)
    yield made
    made.close()


Make = Callable[[str | None], Rig]


@pytest.fixture
def make(tunnel: Tunnel) -> Iterator[Make]:
    made: list[Rig] = []

    def rig(secret: str | None) -> Rig:
        made.append(Rig(secret))
        made[-1].api.use_switch(tunnel.switch())
        return made[-1]

    yield rig
    for each in made:
        each.close()


def test_another_profile_and_the_same_again(make: Make, tunnel: Tunnel) -> None:
    rig = make(SECRET)
    facts = rig.get("/tunnel")
    assert (facts["profile"], facts["profiles"], facts["may_change"]) == ("home", ["home", "work"], True)
    answer = rig.http.put("/tunnel", json={"profile": "work"})
    assert answer.json() == {"notes": ["the kill switch is on now"]}
    assert rig.get("/tunnel")["profile"] == "work"
    tunnel.profiles["work"].write_text('server = "socks5://other.example:1080"\n')
    assert rig.http.put("/tunnel", json={"profile": None}).status_code == 200
    again = [request for request in tunnel.asked if request.operation == "reload"][-1]
    assert "other.example" in again.arguments["text"]
    # Dashboards of Clash have a button for that, too.
    assert rig.http.put("/configs?force=true", json={"path": "", "payload": ""}).status_code == 204
    assert rig.http.put("/configs?force=true", json={"path": "/etc/x.yaml", "payload": ""}).status_code == 400


def test_what_fails_is_told(make: Make, tunnel: Tunnel) -> None:
    rig = make(SECRET)
    for body in ({"profile": "nobody"}, {"profile": "../work"}, {"profile": 7}, {}):
        assert rig.http.put("/tunnel", json=body).status_code == 400
    tunnel.profiles["home"].unlink()
    assert "wrong" in rig.http.put("/tunnel", json={"profile": "work"}).json()["message"]
    assert "home.toml" in rig.http.put("/tunnel", json={"profile": None}).json()["message"]
    assert rig.get("/tunnel")["profile"] == "home"


def test_it_is_taken_down(make: Make, tunnel: Tunnel) -> None:
    rig = make(SECRET)
    assert rig.http.delete("/tunnel").status_code == 204
    rig.get("/tunnel")  # what was asked before it has been answered
    assert "stop" in [request.operation for request in tunnel.asked]


def test_without_a_secret_it_is_only_looked_at(make: Make, tunnel: Tunnel) -> None:
    rig = make(None)
    assert rig.get("/tunnel")["may_change"] is False
    assert rig.http.put("/tunnel", json={"profile": "work"}).status_code == 403
    assert rig.http.delete("/tunnel").status_code == 403
    assert rig.http.put("/configs", json={"path": "", "payload": ""}).status_code == 400
    assert {request.operation for request in tunnel.asked} == {"status"}


def test_a_tunnel_of_one_command_has_no_switch() -> None:
    rig = Rig(SECRET)
    try:
        assert rig.get("/tunnel")["is_up"] is False
        assert rig.http.delete("/tunnel").status_code == 400
    finally:
        rig.close()
