"""`import tunflow` is enough for a user, and costs nothing until a name is used."""

import subprocess
import sys

import pytest

import tunflow


@pytest.mark.parametrize("name", tunflow.__all__)
def test_every_name_is_there(name):
    assert getattr(tunflow, name) is not None


def test_the_extension_points_are_all_at_the_front_door():
    from tunflow import providers

    assert {*providers.__all__} <= {*tunflow.__all__}
    assert tunflow.PacketTunnelProvider is providers.PacketTunnelProvider


def test_what_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        tunflow.Nothing  # noqa: B018
    assert "attach" in dir(tunflow)


def test_importing_the_package_imports_nothing_else():
    code = "import sys, tunflow; print(*sorted(m for m in sys.modules if m.startswith('tunflow')))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "tunflow\n"
    )
