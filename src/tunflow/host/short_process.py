"""Work for a process of its own, so that what it takes to do it does not stay in a process that lives long.

Read first: fork(2), pickle's documentation.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from tunflow.errors import LocalError

T = TypeVar("T")


def in_short_process(work: Callable[[], T]) -> T:
    """Return a copy of what `work` returns in a copy of this process, which ends with that: its modules go with it.

    Where that cannot be, because a value cannot be copied or the process ended before, the work is done here. For a
    process with one thread. Raises LocalError, as `work` does.
    """
    try:
        answer = _copied(work)
    except OSError:
        answer = None
    if answer is None:
        return work()
    value, failure = answer
    if failure is not None:
        raise LocalError(failure)
    return value


def _copied(work: Callable[[], T]) -> tuple[T, str | None] | None:
    """What came of the work, and why it failed if it did; None where it has to be done here. Raises OSError."""
    source, target = os.pipe2(os.O_CLOEXEC)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        pid = os.fork()
    except OSError:
        os.close(source)
        os.close(target)
        raise
    if pid == 0:
        status = 1
        with suppress(BaseException):
            os.close(source)
            _answer(work, target)
            status = 0
        os._exit(status)
    os.close(target)
    try:
        with os.fdopen(source, "rb") as file:
            data = file.read()
    finally:
        _, status = os.waitpid(pid, 0)
    if status:
        return None
    try:
        answer: tuple[T, str | None] = pickle.loads(data)  # noqa: S301 - from a copy of this process
    except Exception:  # a class of a plugin may take more than it was given
        return None
    return answer


def _answer(work: Callable[[], object], target: int) -> None:
    answer: tuple[object, str | None]
    try:
        answer = work(), None
    except LocalError as error:
        answer = None, str(error)
    with os.fdopen(target, "wb") as file:
        pickle.dump(answer, file, pickle.HIGHEST_PROTOCOL)
