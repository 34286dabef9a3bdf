"""Lists in the shapes of EasyList and EasyPrivacy, and URLs as pages have them, the same each time.

The shares are those of the two lists in 2026: most lines are names of servers; some 12,000 patterns are about any host,
built of words, numbers and the signs between them; others are about paths of one host; few are regular expressions.
Lines about what pages show are left out: they are skipped when a list is read.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

NAMES, PATHS, ANYWHERE, EXPRESSIONS, EXCEPTIONS = 70_000, 18_000, 12_000, 30, 1_500
URL_SIZE = 132
"""Characters of a URL, which is the median of requests that pages make."""

_STEMS_TEXT = """
ad ads adv advert banner sponsor promo track tracker tracking pixel stat stats count counter click event log beacon
analytics metric collect impression visit session user page view media image img script js css static asset lib
vendor core main app module widget player video audio content data api rest json feed news article post blog shop
cart product item category search tag label list menu header footer left right top bottom side box frame slot unit
zone campaign partner affiliate ref source target geo locale lang theme font icon logo thumb preview cache proxy
"""
_STEMS = _STEMS_TEXT.split()
_ENDS = ("com", "net", "org", "io", "de", "co.uk", "info", "fr", "ru", "xyz")


class Words:
    """Words as URLs have them: some stand in many, most in few."""

    def __init__(self, chosen: random.Random) -> None:
        self.chosen = chosen
        self._made = [self._new() for _ in range(30_000)]

    def common(self) -> str:
        """A word that many URLs have."""
        return self.chosen.choice(_STEMS)

    def rare(self) -> str:
        """One that few have."""
        return self.chosen.choice(self._made)

    def any(self) -> str:
        """One or the other."""
        return self.common() if self.chosen.random() < 0.5 else self.rare()

    def host(self) -> str:
        """A name of two to four labels."""
        front = f"{self.any()}." if self.chosen.random() < 0.5 else ""
        return f"{front}{self.rare()}{self.chosen.choice(('', '-', ''))}{self.any()}.{self.chosen.choice(_ENDS)}"

    def _new(self) -> str:
        kind = self.chosen.random()
        if kind < 0.4:
            return self.chosen.choice(_STEMS) + self.chosen.choice(_STEMS)
        if kind < 0.5:
            return f"{self.chosen.randint(40, 1200)}x{self.chosen.randint(40, 1200)}"
        return "".join(self.chosen.choices("abcdefghijklmnopqrstuvwxyz", k=self.chosen.randint(4, 10)))


def lines(seed: int = 17) -> list[str]:
    """A list."""
    chosen = random.Random(seed)
    words = Words(chosen)
    made = [f"||{words.host()}^{_options(chosen)}" for _ in range(NAMES)]
    made += [f"||{words.host()}{_path(words)}" for _ in range(PATHS)]
    made += [_no_expression(_anywhere(words)) for _ in range(ANYWHERE)]
    made += [_expression(words) for _ in range(EXPRESSIONS)]
    made += [f"@@||{words.host()}{_path(words)}" for _ in range(EXCEPTIONS)]
    chosen.shuffle(made)
    return made


def urls(count: int, seed: int = 18) -> list[str]:
    """URLs of pages and what they load, each another."""
    chosen = random.Random(seed)
    words = Words(random.Random(17))
    words.chosen = chosen
    found = []
    for _ in range(count):
        url = f"http://{words.host()}/"
        while len(url) < URL_SIZE:
            url += (
                words.any()
                + chosen.choice("/////-_.")
                + (f"{chosen.randint(1, 99999)}/" if chosen.random() < 0.2 else "")
            )
            if "?" not in url and len(url) > URL_SIZE * 2 // 3:
                url += f"{words.common()}.{chosen.choice(('js', 'png', 'gif', 'html', 'php'))}?"
            if "?" in url:
                url += f"{words.any()}={chosen.randrange(1 << 32):x}&"
        found.append(url[:URL_SIZE])
    return found


def _options(chosen: random.Random) -> str:
    return "$third-party" if chosen.random() < 0.25 else ""


def _path(words: Words) -> str:
    star = "*" if words.chosen.random() < 0.15 else ""
    return f"/{words.any()}/{star}{words.rare()}{words.chosen.choice(('.', '/', '?', '^', '-'))}"


def _no_expression(pattern: str) -> str:
    """As lists write a pattern between slashes, which would be a regular expression."""
    return f"{pattern}*" if pattern.startswith("/") and pattern.endswith("/") else pattern


def _anywhere(words: Words) -> str:
    chosen, kind = words.chosen, words.chosen.random()
    if kind < 0.45:
        return f"/{words.any()}{chosen.choice('/-_.')}{words.rare()}{chosen.choice('/-_.?')}"
    if kind < 0.75:
        return f"{chosen.choice('-_.&?')}{words.common()}{chosen.choice('-_.')}{words.rare()}{chosen.choice('-_.=/')}"
    if kind < 0.85:
        return f"://{words.any()}.{words.common()}."
    if kind < 0.95:
        return f"/{words.any()}/*/{words.rare()}."
    return f"{chosen.choice('-_/')}{words.rare()}{chosen.choice('-_/')}"


def _expression(words: Words) -> str:
    return words.chosen.choice(
        (
            rf"/{words.common()}[0-9]+\.{words.rare()}\./",
            rf"/^https?:\/\/[a-z]{{8,15}}\.(com|net)\/{words.rare()}\.js$/",
            rf"/\/[a-f0-9]{{12}}\/{words.common()}\.php/",
            rf"/[?&]{words.rare()}=(\d+|[a-z]+)&/",
        )
    )


def hosts_of(found: Sequence[str]) -> list[str]:
    """The host of each URL."""
    return [url.split("/")[2] for url in found]
