"""How much of a device is read at a time: one packet after a pause, and then all there is."""

from __future__ import annotations

from tunflow.host.memory import memory_pair
from tunflow.loop.codel import INTERVAL
from tunflow.loop.device_queue import QUIET, DeviceQueue
from tunflow.wire import virtio_net

SMALL = b"s" * 60
LARGE = b"l" * 1400


def give(far, *packets):
    far.write([(virtio_net.PLAIN, packet) for packet in packets])


def test_after_a_pause_one_packet_is_read_alone():
    device, far = memory_pair()
    queue = DeviceQueue(3)
    give(far, *[SMALL] * 5)
    assert len(queue.read(device, 10.0)) == 1
    assert len(queue.read(device, 10.0 + QUIET / 2)) == 3
    assert len(queue.read(device, 10.0 + QUIET)) == 1
    give(far, *[SMALL] * 5)
    assert len(queue.read(device, 20.0)) == 1


def test_what_never_ends_is_thinned_out_and_large_packets_far_apart_are_not():
    device, far = memory_pair()
    queue = DeviceQueue(3)
    lost = 0
    for tick in range(2000):
        give(far, LARGE)
        lost += not queue.read(device, tick * 0.01)
    assert lost == 0
    for tick in range(int(3 * INTERVAL * 1000)):
        give(far, SMALL, LARGE, LARGE, LARGE)
        lost += 3 - len(queue.read(device, 100 + tick / 1000))
    assert lost > 0
