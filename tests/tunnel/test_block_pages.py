"""What blocked clients of a profile are shown."""

from __future__ import annotations

import pytest

from tunflow.endpoint import endpoint
from tunflow.filter.judge import Cause, Ruling, unreadable
from tunflow.filter.page import DEFAULT
from tunflow.flow import FlowInfo
from tunflow.profiles.sections.filter import FilterSection
from tunflow.providers.filter_flow import FilterFlow
from tunflow.providers.filter_verdicts import DataVerdict, NewFlowVerdict, RemediationVerdict
from tunflow.tunnel.block_pages import BlockPages

HOURS = {"schedules": {"homework": {"weekdays": ["mon-fri", "sun"], "from": "15:00", "to": "18:00"}}}
LISTS = {
    "lists": [
        {"name": "ads", "file": "ads.txt"},
        {"name": "games", "file": "games.txt", "schedule": "homework", "category": "games"},
    ]
}


def flow_of(url="http://site.example/a?b=1", languages="", port=80):
    flow = FilterFlow(FlowInfo("tcp", endpoint("198.18.0.1", 4000), endpoint("192.0.2.1", port)))
    flow.url, flow.accepted_languages = url, languages
    return flow


class Content:
    def __init__(self, ruling):
        self._ruling = ruling

    def ruling(self, flow):
        return self._ruling


def page(ruling=None, flow=None, verdict=None, offer=lambda _flow, _url: None, **section):
    content = None if ruling is None else Content(ruling)
    made = FilterSection.model_validate({**HOURS, **LISTS, **section})
    pages = BlockPages(made, DEFAULT, print, content, None)
    answer = pages.page(flow or flow_of(), verdict or DataVerdict.remediate(None, None), offer)
    return None if answer is None else answer.decode()


@pytest.mark.parametrize(
    ("ruling", "languages", "told"),
    [
        (Ruling(True, "blocked by ads:7", "ads", 7, "", Cause.LIST), "", "on the list “ads”"),
        (Ruling(True, "blocked by ads:7", "ads", 7, "", Cause.LIST), "zh-CN", "名单“ads”"),
        (
            Ruling(True, "blocked by games:7", "games", 7, "games", Cause.LIST), "",
            "from 15:00 to 18:00 (Monday to Friday, Sunday)",
        ),
        (Ruling(True, "why", "games", 7, "games", Cause.LIST), "zh", "周一至周五, 周日 15:00\u201318:00"),
        (unreadable("an HTTP request that cannot be judged"), "", "could not be checked"),
        (Ruling(True, "why not"), "", "could not be checked"),
    ],
)  # fmt: skip
def test_a_reason_that_a_pupil_understands_and_one_for_the_teacher(ruling, languages, told):
    made = page(ruling, flow_of(languages=languages))
    assert told in made
    assert ruling.why in made


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_has_a_reason(cause):
    assert "{" not in page(Ruling(True, "why", "ads", 1, "", cause)).partition("</style>")[2]


@pytest.mark.parametrize(
    ("how", "shown"),
    [
        ("", "Ask the person who runs this network"),
        ("Ask <b>Ms Miller</b>.", "Ask &lt;b&gt;Ms Miller&lt;/b&gt;."),
        ("https://ask.school.example/form", 'href="https://ask.school.example/form"'),
        (
            "mailto:it@school.example",
            'href="mailto:it@school.example?subject=Blocked%3A%20site.example&amp;body=http%3A//',
        ),
    ],
)
def test_how_to_ask(how, shown):
    assert shown in page(unreadable("why"), how_to_ask=how)


def test_the_button_of_a_filter_of_ones_own():
    verdict = DataVerdict.remediate(None, None)
    assert 'action="/ask/1"' in page(verdict=verdict, offer=lambda _flow, _url: "/ask/1", provider="x:Y")
    chinese = page(flow=flow_of(languages="zh"), verdict=verdict, offer=lambda _flow, _url: "/ask/1", provider="x:Y")
    assert "<button>请求访问</button>" in chinese
    assert "Access was asked for, and not given." in page(verdict=RemediationVerdict.drop(), provider="x:Y")
    assert page(verdict=NewFlowVerdict.drop(), provider="x:Y") is None


def test_where_there_is_no_page():
    assert page(unreadable("why"), flow_of(url=None, port=443)) is None
    assert "http://192.0.2.1/" in page(unreadable("why"), flow_of(url=None, port=80))


def test_a_long_url_is_cut():
    made = page(unreadable("why"), flow_of(url="http://site.example/" + "x" * 5000))
    assert "x" * 200 in made
    assert "x" * 400 not in made
