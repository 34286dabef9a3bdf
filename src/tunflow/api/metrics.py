"""Counts for Prometheus, in its text format; no names of people or sites are in them."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import CollectorRegistry

from tunflow.api.served import Served


def exposition(served: Served | None, memory: int) -> bytes:
    """What is counted now; `memory` in bytes."""
    registry = CollectorRegistry()
    registry.register(_Snapshot(list(_metrics(served, memory))))
    return generate_latest(registry)


class _Snapshot:
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _metrics(served: Served | None, memory: int) -> Iterable[Metric]:
    yield GaugeMetricFamily("tunflow_up", "Whether a tunnel is served.", value=int(served is not None))
    yield GaugeMetricFamily("tunflow_memory_bytes", "Of the process, in memory.", value=memory)
    if served is None:
        return
    counts = served.statistics()
    flows = CounterMetricFamily("tunflow_flows", "Flows that began.", labels=["protocol"])
    size = CounterMetricFamily("tunflow_bytes", "Bytes of flows, without headers.", labels=["protocol", "direction"])
    for protocol, began, up, down in (
        ("tcp", counts.tcp_flows, counts.tcp_bytes_up, counts.tcp_bytes_down),
        ("udp", counts.udp_flows, counts.udp_bytes_up, counts.udp_bytes_down),
    ):
        flows.add_metric([protocol], began)
        size.add_metric([protocol, "up"], up)
        size.add_metric([protocol, "down"], down)
    yield flows
    yield size
    for name, words, value in (
        ("tunflow_tcp_failed", "TCP flows that were not carried.", counts.tcp_failed),
        ("tunflow_udp_dropped", "Datagrams that were dropped.", counts.udp_dropped),
        ("tunflow_dns_queries", "Queries for names.", counts.dns_queries),
        ("tunflow_retransmissions", "Segments sent again to clients.", counts.retransmissions),
        ("tunflow_internal_errors", "Bugs; each ended what it happened in.", counts.internal_errors),
    ):
        yield CounterMetricFamily(name, words, value=value)
    yield GaugeMetricFamily("tunflow_open_descriptors", "Of flows, now.", value=served.descriptors)
    policy = served.rules
    if policy is not None:
        delay = GaugeMetricFamily("tunflow_server_delay_seconds", "Of the last answer.", labels=["server"])
        works = GaugeMetricFamily("tunflow_server_works", "Whether the last check was answered.", labels=["server"])
        health = policy.routing.groups.health
        for server in policy.routing.groups.servers:
            seconds = health.delay(server)
            if seconds is not None:
                delay.add_metric([server], seconds)
            works.add_metric([server], int(health.works(server)))
        yield delay
        yield works
