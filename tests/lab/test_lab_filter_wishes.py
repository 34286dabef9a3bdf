"""The page of a filter of one's own, its button and its links, with a browser's requests."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.netlab.namespaces import SITE4
from lab_system import DNS, System
from lab_uplinks import UplinkLab
from test_lab_filter import profile_of

pytestmark = pytest.mark.lab

ASKS = """
import asyncio

from tunflow.providers import (
    ControlVerdict, FilterControlProvider, FilterDataProvider, NewFlowVerdict, RemediationVerdict
)


class Mine(FilterDataProvider):
    granted = False

    def handle_new_flow(self, flow):
        if flow.remote_endpoint.port == 8080:
            return NewFlowVerdict.remediate("there is none", None)
        return NewFlowVerdict.allow() if self.granted else NewFlowVerdict.remediate(None, "text")

    def handle_remediation(self, flow):
        self.display_message(f"somebody wants {flow.url}")
        return RemediationVerdict.need_rules()

    def handle_rules_changed(self):
        self.granted = True


class Rules(FilterControlProvider):
    remediation_map = {"urls": {}, "button_texts": {"text": "May I?"}}

    async def handle_remediation(self, flow):
        await asyncio.sleep(0.05)
        return ControlVerdict.allow(with_update_rules=True)
"""

SCRIPT = f"""
page=$(curl -sS http://{SITE4}/1k)
echo "$page" | grep -o 'May I?'
button=$(echo "$page" | sed -n 's/.*action="\\([^"]*\\)".*/\\1/p')
curl -sS -L -d '' -o got -w '%{{http_code}} %{{size_download}} %{{url_effective}}\\n' "http://{SITE4}$button"
curl -sS http://{SITE4}:8080/ | grep -c 'is blocked'
"""


def test_a_user_asks_and_is_let_in(uplinks: UplinkLab, system: System) -> None:
    module = Path(system.directory) / "asks.py"
    module.write_text(ASKS)
    path = profile_of(system, f'provider = "{module}:Mine"\ncontrol_provider = "{module}:Rules"', dns=DNS)
    done = system.tunflow("run", "--profile", str(path), "--", "sh", "-c", f"cd {system.directory}; {SCRIPT}")
    assert done.stdout.splitlines() == ["May I?", f"200 1024 http://{SITE4}/1k", "1"], done
    assert f"somebody wants http://{SITE4}/1k" in done.stderr
    assert "names 'there is none' of urls, and its remediation_map has no such key" in done.stderr
