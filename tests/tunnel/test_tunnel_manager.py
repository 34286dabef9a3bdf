"""Saved tunnels for programs: NEVPNManager's way of load, change and save."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tunflow.profiles.store import ProfileStore
from tunflow.providers.app_rule import AppRule
from tunflow.providers.network_path import InterfaceType
from tunflow.providers.on_demand import (
    EvaluateConnectionAction,
    EvaluateConnectionRule,
    OnDemandRuleConnect,
    OnDemandRuleDisconnect,
    OnDemandRuleEvaluateConnection,
)
from tunflow.providers.status import ConnectionStatus
from tunflow.tunnel import last_disconnect
from tunflow.tunnel.last_disconnect import LastDisconnect
from tunflow.tunnel.tunnel_manager import RoutingMethod, TunnelManager, TunnelProviderManager
from tunflow.tunnel.vpn_error import VPNConnectionErrorCode, VPNError, VPNErrorCode

LINK = "ss://YWVzLTEyOC1nY206dGVzdA@192.168.100.1:8888#Example1"


@pytest.fixture
def store(tmp_path: Path) -> ProfileStore:
    return ProfileStore([tmp_path / "profiles"])


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNFLOW_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path / "run"


def code(error: pytest.ExceptionInfo[VPNError]) -> VPNErrorCode:
    return error.value.code


def test_save_load_change_remove(store: ProfileStore) -> None:
    async def main() -> None:
        manager = TunnelManager("home", [LINK], store=store)
        assert manager.connection.status is ConnectionStatus.INVALID
        await manager.save()
        assert manager.file == store.places[0] / "home.toml"
        assert manager.file.stat().st_mode & 0o777 == 0o600
        assert manager.connection.status is ConnectionStatus.DISCONNECTED
        manager.is_enabled = False
        manager.is_on_demand_enabled = True
        manager.on_demand_rules = RULES
        manager.app_rules = [AppRule("/usr/bin/curl", match_domains=("example.com",)), AppRule(match_uid=5)]
        await manager.save()

        (again,) = await TunnelManager.load_all(store=store)
        assert not again.is_enabled
        assert again.is_on_demand_enabled
        assert again.on_demand_rules == RULES
        assert again.app_rules == (AppRule("/usr/bin/curl", match_domains=("example.com",)), AppRule(match_uid=5))
        assert again.routing_method is RoutingMethod.SOURCE_APPLICATION
        assert [each.text for each in again.profile.server] == [LINK]
        await again.remove()
        assert await TunnelManager.load_all(store=store) == []
        assert again.connection.status is ConnectionStatus.INVALID
        with pytest.raises(VPNError):
            await again.remove()

    asyncio.run(main())


RULES = (
    OnDemandRuleDisconnect(interface_type_match=InterfaceType.WIFI, ssid_match=("Home",)),
    OnDemandRuleEvaluateConnection(
        dns_search_domain_match=("corp.example",),
        connection_rules=(
            EvaluateConnectionRule(
                match_domains=("corp.example",),
                action=EvaluateConnectionAction.CONNECT_IF_NEEDED,
                use_dns_servers=("10.0.0.53",),
            ),
        ),
    ),
    OnDemandRuleConnect(),
)


def test_what_somebody_else_changed_is_not_overwritten(store: ProfileStore) -> None:
    async def main() -> None:
        one = TunnelManager("home", [LINK], store=store)
        await one.save()
        (two,) = await TunnelManager.load_all(store=store)
        two.is_enabled = False
        await two.save()
        one.is_on_demand_enabled = True
        with pytest.raises(VPNError, match="load it, change it and save it again") as stale:
            await one.save()
        assert code(stale) is VPNErrorCode.CONFIGURATION_STALE
        await one.load()
        assert not one.is_enabled
        one.is_on_demand_enabled = True
        await one.save()
        with pytest.raises(VPNError) as stale:
            await TunnelManager("home", ["direct://"], store=store).save()
        assert code(stale) is VPNErrorCode.CONFIGURATION_STALE

    asyncio.run(main())


def test_what_is_wrong_is_refused_at_once(store: ProfileStore) -> None:
    manager = TunnelManager("home", [LINK], store=store)
    for change in (
        lambda: setattr(manager, "is_enabled", "yes"),
        lambda: setattr(manager, "on_demand_rules", [OnDemandRuleConnect(), OnDemandRuleDisconnect()]),
        lambda: TunnelManager("../x", store=store),
        lambda: TunnelManager("x", ["gopher://x"], store=store),
        lambda: TunnelProviderManager("x", "not a provider", store=store),
    ):
        with pytest.raises(VPNError) as caught:
            change()
        assert code(caught) is VPNErrorCode.CONFIGURATION_INVALID
        assert "\n" not in str(caught.value)
    assert manager.is_enabled
    assert manager.on_demand_rules == ()


def test_providers_and_broken_files(store: ProfileStore) -> None:
    async def main() -> None:
        await TunnelManager("plain", [LINK], store=store).save()
        mine = TunnelProviderManager("mine", "toyvpn:ToyTunnel", {"host": "a", "ports": [1, 2]}, store=store)
        await mine.save()
        (store.places[0] / "bad.toml").write_text("servr = 1")
        told: list[str] = []
        found = await TunnelProviderManager.load_all(store=store, skipped=told.append)
        assert [(each.name, each.provider) for each in found] == [("mine", "toyvpn:ToyTunnel")]
        assert found[0].provider_configuration == {"host": "a", "ports": [1, 2]}
        assert found[0].protocol_configuration.provider_configuration["host"] == "a"
        assert len(told) == 1
        assert "bad.toml:1: servr is not a key" in told[0]
        assert {each.name for each in await TunnelManager.load_all(store=store)} == {"plain", "mine"}

    asyncio.run(main())


def test_a_disabled_or_unsaved_tunnel_is_not_started(store: ProfileStore) -> None:
    async def main() -> None:
        manager = TunnelManager("home", [LINK], store=store)
        with pytest.raises(VPNError) as unsaved:
            await manager.connection.start()
        assert code(unsaved) is VPNErrorCode.CONFIGURATION_INVALID
        manager.is_enabled = False
        await manager.save()
        with pytest.raises(VPNError) as disabled:
            await manager.connection.start()
        assert code(disabled) is VPNErrorCode.CONFIGURATION_DISABLED
        await manager.connection.stop()
        assert manager.connection.connected_date is None

    asyncio.run(main())


def test_the_last_error_is_that_of_this_tunnel(store: ProfileStore, runtime: Path) -> None:
    async def main() -> None:
        manager = TunnelManager("home", [LINK], store=store)
        await manager.save()
        runtime.mkdir()
        file = last_disconnect.LastDisconnectFile(runtime)
        assert await manager.connection.fetch_last_disconnect_error() is None
        for end, expected in (
            (LastDisconnect(str(manager.file), VPNConnectionErrorCode.PLUGIN_FAILED, "it broke"), "it broke"),
            (LastDisconnect("/other.toml", VPNConnectionErrorCode.PLUGIN_FAILED, "it broke"), None),
            (LastDisconnect(str(manager.file), None, ""), None),
        ):
            file.write(end)
            error = await manager.connection.fetch_last_disconnect_error()
            assert (error and str(error)) == expected
        file.close()
        (runtime / last_disconnect.FILE).write_text("nonsense")
        assert await manager.connection.fetch_last_disconnect_error() is None

    asyncio.run(main())
