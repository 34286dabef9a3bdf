"""The summary of `--stats`."""

from __future__ import annotations

import pytest

from tunflow.dataplane.statistics import SAMPLES, Statistics, amount


def test_the_summary_says_what_was_counted():
    statistics = Statistics(
        tcp_flows=3, tcp_failed=1, tcp_bytes_up=1500, tcp_bytes_down=2_500_000, refused_packets=7, internal_errors=2
    )
    for seconds in (0.001, 0.003, 0.002):
        statistics.connected(seconds)
    text = "\n".join(statistics.lines())
    assert "TCP flows 3, failed 1, up 1.5 kB, down 2.5 MB" in text
    assert "median 2.0 ms, slowest 3.0 ms" in text
    assert "malformed packets 7, internal errors 2" in text


def test_connection_times_stay_bounded():
    statistics = Statistics()
    for _ in range(SAMPLES + 10):
        statistics.connected(0.1)
    assert len(statistics.connect_times) == SAMPLES


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345_678, "12.3 MB"), (5e12, "5.0 TB")]
)
def test_amounts(size, text):
    assert amount(size) == text
