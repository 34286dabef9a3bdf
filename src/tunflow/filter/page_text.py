"""What a block page says, in the languages that it has, and which of them a browser wants."""
# ruff: noqa: RUF001 (Chinese has signs of its own)

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from tunflow.filter.judge import Cause
from tunflow.filter.schedule import WEEKDAYS

MOST_LANGUAGES = 20
"""Languages of a header that are looked at."""


class PageText(NamedTuple):
    """The words of a page in one language."""

    language: str
    """As HTML's `lang` has it (RFC 5646)."""
    title: str
    """With `{host}`."""
    heading: str
    causes: Mapping[Cause, str]
    """Why, for who sees the page; with `{list}`."""
    hours: str
    """With `{days}`, `{start}` and `{end}`."""
    weekdays: tuple[str, ...]
    """From Monday on."""
    until: str
    """Between the first and the last of several."""
    category: str
    """With `{category}`."""
    how_to_ask: str
    ask: str
    """What stands on a button that asks."""
    refused: str
    """In place of a reason, where access was asked for and not given."""
    details: str
    """In front of what the person who runs the network wants to know."""

    def weekday(self, short: str) -> str:
        """The name of a day that a profile writes as `mon`."""
        return self.weekdays[WEEKDAYS.index(short)]


ENGLISH = PageText(
    language="en",
    title="Blocked: {host}",
    heading="This page is blocked",
    causes={
        Cause.LIST: "It is on the list “{list}” of sites that are not available on this network.",
        Cause.NOT_ALLOWED: "On this network only chosen sites can be opened, and this is none of them.",
        Cause.DOOR: "On this network sites can only be opened by their names, in a way that can be checked.",
        Cause.UNREADABLE: "What your program asked for could not be checked, so it was not let through.",
        Cause.FORGED: "Your program asked for a site at an address that this site does not have.",
        Cause.FILTER: "The filter of this network does not let it pass.",
    },
    hours="The list counts from {start} to {end} ({days}).",
    weekdays=("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    until=" to ",
    category="Category: {category}",
    how_to_ask="Do you need this page? Ask the person who runs this network, and show them what stands below.",
    ask="Request Access",
    refused="Access was asked for, and not given.",
    details="For the person who runs this network:",
)
CHINESE = PageText(
    language="zh-Hans",
    title="已阻止：{host}",
    heading="此网页已被阻止",
    causes={
        Cause.LIST: "该网站在名单“{list}”中，本网络不能访问名单上的网站。",
        Cause.NOT_ALLOWED: "本网络只能访问选定的网站，该网站不在其中。",
        Cause.DOOR: "在本网络中，网站只能以可检查的方式通过其域名访问。",
        Cause.UNREADABLE: "无法检查您的程序所请求的内容，因此未予放行。",
        Cause.FORGED: "您的程序在一个不属于该网站的地址上请求该网站。",
        Cause.FILTER: "本网络的过滤器不允许访问该网页。",
    },
    hours="该名单的生效时间：{days} {start}–{end}。",
    weekdays=("周一", "周二", "周三", "周四", "周五", "周六", "周日"),
    until="至",
    category="类别：{category}",
    how_to_ask="需要访问此网页？请联系本网络的管理员，并出示下方的说明。",
    ask="请求访问",
    refused="已请求访问，但未获批准。",
    details="供网络管理员参考：",
)
_QUALITY = re.compile(r"[01](?:\.[0-9]{0,3})?")
_BY_TAG = {"en": ENGLISH, "zh": CHINESE}


def text_for(accepted: str) -> PageText:
    """The words in the language that an Accept-Language header wants most (RFC 9110 §12.5.4); else English."""
    best, weight = ENGLISH, 0.0
    for part in accepted.split(",")[:MOST_LANGUAGES]:
        tag, _, parameter = part.partition(";")
        found = _BY_TAG.get(tag.strip().lower().partition("-")[0])
        wanted = _weight(parameter)
        if found is not None and wanted > weight:
            best, weight = found, wanted
    return best


def _weight(parameter: str) -> float:
    """The value of `q=…`; 1 without one, 0 for what is none."""
    name, _, value = parameter.partition("=")
    if not name.strip():
        return 1.0
    digits = value.strip().replace(".", "", 1)
    return (
        float(value)
        if name.strip().lower() == "q" and digits.isascii() and digits.isdigit() and len(digits) < 8
        else 0.0
    )
