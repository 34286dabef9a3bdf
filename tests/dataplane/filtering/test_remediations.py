"""The button on a page: who may press it, and what becomes of it."""

from __future__ import annotations

import pytest
from filter_rig import Bench, Judge, watch

from tunflow.dataplane.filtering import remediations
from tunflow.providers.filter_provider import FilterControlProvider
from tunflow.providers.filter_verdicts import ControlVerdict, DataVerdict, NewFlowVerdict, RemediationVerdict
from tunflow.testing.packet_script import ScriptedClient
from tunflow.wire.tcp import ACK, PSH, SYN, Options

REFUSED = NewFlowVerdict.remediate(None, None)
REQUEST = b"GET /game?level=3 HTTP/1.1\r\nHost: play.example\r\n\r\n"
URL = "http://play.example/game?level=3"


class Asked(Judge):
    """Says what the test wants of a wish."""

    def __init__(self, wish, **more):
        super().__init__(**more)
        self.wish = wish
        self.wishes = []

    def handle_remediation(self, flow):
        self.wishes.append(flow.url)
        if isinstance(self.wish, Exception):
            raise self.wish
        return self.wish


class Pages(Bench):
    """Its page is the path of the button, or that there is none."""

    def __init__(self, judge, **more):
        super().__init__(judge, page=self.page, **more)
        self.port = self.client.target.port
        self.source = 5000

    def page(self, flow, verdict):
        if isinstance(verdict, RemediationVerdict):
            return b"NOT GIVEN"
        return f"PAGE {self.filter.remediations.offer(flow, flow.url or 'http://?/')}".encode()

    def asks(self, *requests):
        """What a new connection gets that sends these, one after the other."""
        self.source += 1
        self.client = ScriptedClient(self.stack, target_port=self.port, source_port=self.source)
        self.segments = []
        self.send(SYN, seq=0, options=Options(mss=1460, window_scale=7))
        self.until(lambda: any(segment.flags == "SA" for segment in self.segments))
        self.send(ACK, seq=1, ack=1, window=512)
        at = 1
        for request in requests:
            self.send(ACK | PSH, seq=at, ack=1, payload=request)
            at += len(request)
        return self.client_has()


@pytest.fixture
def make():
    made = []

    def build(*arguments, **options):
        made.append(Pages(*arguments, **options))
        return made[-1]

    yield build
    for bench in made:
        bench.close()


def press(page):
    path = page.removeprefix(b"PAGE ")
    assert path.startswith(b"/.well-known/tunflow/ask/")
    return b"POST " + path + b" HTTP/1.1\r\nHost: play.example\r\nContent-Length: 0\r\n\r\n"


WAYS = {
    "before it began": {"new": REFUSED},
    "by its bytes": {"new": watch(outbound=1), "outbound": [DataVerdict.remediate(None, None)] * 9},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("step", [None, 20])
def test_a_wish_that_is_granted(make, way, step):
    """The browser is led back to where it wanted to go, also on a port of its own."""
    judge = Asked(RemediationVerdict.allow(), **WAYS[way])
    bench = make(judge)
    url = f"http://play.example:{bench.port}/game?level=3"
    pressed = press(bench.asks(REQUEST))
    answer = bench.asks(*([pressed] if step is None else [pressed[at : at + step] for at in range(0, 100, step)]))
    assert answer.startswith(b"HTTP/1.1 303")
    assert f"Location: {url}\r\n".encode() in answer
    assert judge.wishes == [url]
    assert bench.asks(pressed).startswith(b"PAGE ")  # once


@pytest.mark.parametrize("wish", [RemediationVerdict.drop(), ValueError("oops"), None, RemediationVerdict.need_rules()])
def test_a_wish_that_is_not(make, wish):
    """Also what fails, or needs a control provider where there is none, whatever `on_failure` says."""
    bench = make(Asked(wish, new=REFUSED), on_failure_pass=True)
    assert bench.asks(press(bench.asks(REQUEST))) == b"NOT GIVEN"
    assert bool(bench.lines) is (wish != RemediationVerdict.drop())


@pytest.mark.parametrize("new", [NewFlowVerdict.allow(), watch(outbound=1)])
def test_a_button_is_never_sent_to_the_site(make, new):
    judge = Asked(RemediationVerdict.allow(), new=REFUSED, outbound=[DataVerdict.allow()] * 9)
    bench = make(judge)
    pressed = press(bench.asks(REQUEST))
    judge.new = new  # it may pass now
    assert bench.asks(pressed).startswith(b"HTTP/1.1 303")
    assert judge.seen == []
    bench.asks(REQUEST)
    bench.far, _ = bench.listener.accept()
    bench.far, _ = bench.listener.accept()
    bench.far.setblocking(False)
    assert bench.far_has() == REQUEST


def test_nobody_guesses_or_keeps_a_button(make, monkeypatch):
    monkeypatch.setattr(remediations, "LIFE", 0.0)
    judge = Asked(RemediationVerdict.allow(), new=REFUSED)
    bench = make(judge)
    guessed = press(b"PAGE /.well-known/tunflow/ask/" + b"0" * 32)
    assert bench.asks(guessed).startswith(b"PAGE ")
    pressed = press(bench.asks(REQUEST))
    assert bench.asks(pressed).startswith(b"PAGE ")
    assert judge.wishes == []


def test_there_is_no_button_without_a_handler_and_buttons_are_bounded(make):
    bench = make(Judge(REFUSED))
    assert bench.asks(REQUEST) == b"PAGE None"
    bench = make(Asked(RemediationVerdict.allow(), new=REFUSED))
    first = press(bench.asks(REQUEST))
    flow = bench.filter.provider.flows[0]
    for _ in range(remediations.OFFERS):
        bench.filter.remediations.offer(flow, URL)
    assert bench.filter.remediations.offers == remediations.OFFERS
    assert bench.asks(first).startswith(b"PAGE ")


@pytest.mark.parametrize(
    ("verdict", "answer", "told"),
    [
        (ControlVerdict.allow(), b"HTTP/1.1 303", 0),
        (ControlVerdict.allow(with_update_rules=True), b"HTTP/1.1 303", 1),
        (ControlVerdict.update_rules(), b"HTTP/1.1 303", 1),
        (ControlVerdict.drop(), b"NOT GIVEN", 0),
        ("yes", b"NOT GIVEN", 0),
    ],
)
def test_the_control_provider_decides_in_its_own_time(make, verdict, answer, told):
    class Control(FilterControlProvider):
        def create_task(self, work, name):
            self.work = work

        async def handle_remediation(self, flow):
            return verdict

    judge = Asked(RemediationVerdict.need_rules(), new=REFUSED)
    changes = []
    judge.handle_rules_changed = lambda: changes.append(1)
    bench = make(judge)
    bench.filter.control = Control()
    assert bench.asks(press(bench.asks(REQUEST))) == b""
    with pytest.raises(StopIteration):
        bench.filter.control.work.send(None)
    bench.until(bench.client_has)
    assert bench.client_has().startswith(answer)
    assert len(changes) == told


def test_tls_on_a_port_of_http_is_reset(make):
    bench = make(Asked(RemediationVerdict.allow(), new=REFUSED))
    assert bench.asks(b"\x16\x03\x01\x02\x00") == b""
    assert bench.reset


def test_a_page_when_it_is_the_answer_that_is_refused(make):
    judge = Asked(None, new=watch(inbound=1), inbound=[DataVerdict.remediate(None, None)])
    bench = make(judge)
    bench.establish()
    bench.send(ACK | PSH, seq=1, ack=1, payload=REQUEST)
    assert bench.far_has() == REQUEST
    bench.far.sendall(b"HTTP/1.1 200 OK\r\n\r\nbad words")
    bench.until(lambda: bench.client_has().startswith(b"PAGE "))
