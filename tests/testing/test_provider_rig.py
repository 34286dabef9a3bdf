"""What the rig for tests of one's own provider leaves behind."""

from __future__ import annotations

import pytest

from open_files import open_files, opened_since
from tunflow.providers import AppProxyProvider, PacketTunnelProvider
from tunflow.testing.provider_rig import ProviderRig, play


class Tunnel(PacketTunnelProvider):
    async def start_tunnel(self, options):
        """Does nothing."""


class Proxy(AppProxyProvider):
    async def start_proxy(self, options):
        """Does nothing."""


async def good(rig: ProviderRig) -> None:
    """A scene in which nothing happens."""


async def bad(rig: ProviderRig) -> None:
    raise ValueError("a scene")


@pytest.mark.parametrize("kind", [Tunnel, Proxy])
def test_no_descriptor_stays_open(kind: type[Tunnel | Proxy]) -> None:
    before = open_files()
    play(kind(), good)
    with pytest.raises(ValueError, match="a scene"):
        play(kind(), bad)
    assert not opened_since(before)
