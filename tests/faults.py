"""Bugs put into methods: the classes of some modules, counted and then made to fail one call at a time."""

from __future__ import annotations

import gc
import importlib
from collections import Counter
from contextlib import contextmanager
from types import FunctionType


class Bug(Exception):
    """What nobody foresaw."""


def methods(rooms, mechanism=frozenset()):
    """Every method of the classes of these modules, but those of the mechanism that contains."""
    for room in rooms:
        for kind in vars(importlib.import_module(room)).values():
            if isinstance(kind, type) and kind.__module__ == room:
                for name, method in vars(kind).items():
                    if isinstance(method, FunctionType) and name not in mechanism:
                        yield kind, name, method


@contextmanager
def counted(calls, rooms, mechanism=frozenset(), only=lambda: True):
    """Count the calls of every method, by class and name, while `only` says so."""
    before = list(methods(rooms, mechanism))
    for kind, name, method in before:

        def count(*arguments, _method=method, _site=(kind, name), **options):
            calls[_site] += only()
            return _method(*arguments, **options)

        setattr(kind, name, count)
    try:
        yield
    finally:
        for kind, name, method in before:
            setattr(kind, name, method)


def sites_of(calls):
    """Where to fail: the first call of each method, and one in the middle of it all."""
    reached = sorted(((site, count) for site, count in calls.items() if count), key=str)
    return [(site, number) for site, count in reached for number in sorted({1, count // 4 + 1})]


@contextmanager
def failing(kind, name, call, only=lambda: True):
    """Have the method raise at its call of that number, instead of doing anything, and work from then on.

    Calls are counted while `only` says so: where clients in the test are of the same classes.
    """
    right = vars(kind)[name]
    made = 0

    def fail(self, *arguments, **options):
        nonlocal made
        made += only()
        if made == call and only():
            setattr(kind, name, right)
            raise Bug("with a secret")
        return right(self, *arguments, **options)

    setattr(kind, name, fail)
    try:
        yield lambda: made >= call
    finally:
        setattr(kind, name, right)


def kept(*kinds):
    """How many objects of each of these kinds there are."""
    gc.collect()
    return Counter(type(each).__name__ for each in gc.get_objects() if type(each) in kinds)
