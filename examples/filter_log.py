"""Writes a line for every flow, and lets all pass: a profile with [filter] provider = "examples/filter_log.py:Log"."""

import sys

from tunflow import FilterDataProvider, NewFlowVerdict


class Log(FilterDataProvider):
    """Its host is what the client asked for, where a DNS answer of the tunnel told it."""

    def handle_new_flow(self, flow):
        host = flow.remote_hostname or flow.remote_endpoint.host_text
        print(f"{flow.source_app_identifier or '?'} -> {host}:{flow.remote_endpoint.port}", file=sys.stderr)
        return NewFlowVerdict.allow()
