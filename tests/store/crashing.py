"""A process that writes turns through the ledger and kills itself, over and over.

    python -m tests.store.crashing URL ACKS LIVES STRIDE

In its n-th life it dies at step n * STRIDE: an iteration of the event loop or, on SQLite, the beginning of a statement.
Each commit that was acknowledged is a line in the file ACKS: `begun NAME` or `ended NAME`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from midstream.store import open_store

from .turns import begin, end

CALLERS, TURNS = 3, 4


class _Countdown:
    """Dies at the last of so many steps, once it is armed."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.armed = False

    def step(self, _what: object = None) -> None:
        if self.armed:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


class _CountingLoop(asyncio.SelectorEventLoop):
    countdown: _Countdown

    def _run_once(self) -> None:
        self.countdown.step()
        super()._run_once()  # type: ignore[misc]


async def _live(url: str, acks: int, life: int, countdown: _Countdown) -> None:
    store = await open_store(url, worker="crashing")
    if url.startswith("sqlite"):
        store.db._writer.set_trace_callback(countdown.step)  # type: ignore[attr-defined]

    async def caller(number: int) -> None:
        for turn in range(TURNS):
            name = f"{life}_{number}_{turn}"
            await store.ledger.commit(*begin(name))
            os.write(acks, f"begun {name}\n".encode())
            await asyncio.sleep(0)
            await store.ledger.commit(*end(name))
            os.write(acks, f"ended {name}\n".encode())

    countdown.armed = True
    await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    countdown.armed = False
    await store.close()


def _be_born(url: str, acks: int, life: int, step: int) -> None:
    countdown = _Countdown(step)
    loop = _CountingLoop()
    loop.countdown = countdown
    loop.run_until_complete(_live(url, acks, life, countdown))
    os._exit(0)


def main(url: str, path: str, lives: int, stride: int) -> None:
    acks = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    deaths = 0
    for life in range(1, lives + 1):
        child = os.fork()
        if child == 0:
            _be_born(url, acks, life, life * stride)
        _, status = os.waitpid(child, 0)
        deaths += os.WIFSIGNALED(status)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
            raise SystemExit("a life ended in an error")
    print(deaths)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
