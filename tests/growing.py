"""What a request costs as it grows. Every request's work is done in the one process that serves all the others, so what
costs the square of its length lets one caller hold up everybody with little. Never measured in seconds."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from time import process_time
from types import FrameType
from typing import Any

#: How many times as long the long one is, and how much more than as many times the work it may cost.
TIMES = 8
_MORE = 1.5
#: A time is no number of steps: it is measured with other things going on. The square of TIMES is still far off.
_MUCH_MORE = 3


def steps(work: Callable[[], object]) -> int:
    """How many instructions of the interpreter it takes."""
    count = 0

    def counts(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return counts

    before = sys.gettrace()
    sys.settrace(counts)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def shortest(work: Callable[[], object]) -> float:
    """The least time of a few: for what the interpreter does within one instruction, as looking through a list."""
    times = []
    gc.disable()  # it looks through all that there is, again and again while more is made
    try:
        for _ in range(3):
            began = process_time()
            work()
            times.append(process_time() - began)
    finally:
        gc.enable()
    return min(times)


def grows_evenly(of_size: Callable[[int], Callable[[], object]], size: int = 150) -> bool:
    """Does TIMES as much cost about TIMES as many steps? of_size: prepares the work on so much."""
    return steps(of_size(TIMES * size)) <= _MORE * TIMES * steps(of_size(size))


def lasts_evenly(of_size: Callable[[int], Callable[[], object]], size: int = 2000) -> bool:
    """The same of its time."""
    return shortest(of_size(TIMES * size)) <= _MUCH_MORE * TIMES * shortest(of_size(size))
