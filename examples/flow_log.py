"""Logs every connection of a program, and whose it is, as a line of JSON; everything goes out as usual.

tunflow run --provider examples/flow_log.py:FlowLog -- curl https://example.com/
tunflow run --provider examples/flow_log.py:FlowLog --config file=flows.jsonl -- firefox
"""

import json
import sys
import time

from tunflow import NetworkRule, TransparentProxyNetworkSettings, TransparentProxyProvider


class FlowLog(TransparentProxyProvider):
    """A transparent proxy that takes nothing: whatever it declines goes straight out, at full speed."""

    async def start_proxy(self, options):
        file = self.protocol_configuration.provider_configuration.get("file")
        self.log = open(file, "a") if file else sys.stderr
        everything = TransparentProxyNetworkSettings(tunnel_remote_address="-", included_network_rules=[NetworkRule()])
        await self.set_tunnel_network_settings(everything)

    def handle_new_flow(self, flow):
        self.write("tcp", flow, flow.remote_endpoint)
        return False

    def handle_new_udp_flow(self, flow, initial_remote_endpoint):
        self.write("udp", flow, initial_remote_endpoint)
        return False

    def write(self, protocol, flow, target):
        process = flow.meta_data.process
        facts = {
            "time": round(time.time(), 3),
            "protocol": protocol,
            "host": flow.remote_hostname or target.host_text,
            "port": target.port,
            "program": process and process.executable,
            "pid": process and process.pid,
        }
        print(json.dumps(facts), file=self.log, flush=True)
