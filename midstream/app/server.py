"""Starting, serving and ending: one process, one event loop, one listening socket."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn
import uvloop

from .clock import Clock
from .compose import Process, open_process
from .config import Config
from .direct import Wave
from .protocol import EdgeProtocol

logger = logging.getLogger("midstream.server")
BACKLOG = 8192
#: Seconds after it is ready that a server loads what it answers operators with.
LATER = 0.1
#: Bytes that may wait in the kernel for a client's window.
UNSENT = 64 * 1024


class Server(uvicorn.Server):
    """Ends in order on SIGTERM: not ready any more, still accepting for a moment so that load balancers can look
    away, then no new connection; runs under way get their time, then an error event in their own grammar.
    SIGINT skips the moment; a second signal ends at once."""

    def __init__(self, config: uvicorn.Config, process: Process) -> None:
        super().__init__(config)
        self._process = process
        # Before anybody is told that it is ready: who knows of it may end it.
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._process.leaving:
            self.should_exit = self.force_exit = True
            self._process.services.runs.cancel_all()
            return
        self._process.leaving = True
        moment = self._process.config.server.lame_duck_seconds if sig == signal.SIGTERM else 0.0
        logger.info("stopping: accepting for %g s more", moment)
        asyncio.get_running_loop().call_later(moment, self._stop)

    def _stop(self) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        if not self.force_exit:
            await self._process.drain(self._process.config.server.drain_seconds)
        await super().shutdown(sockets)
        await self._process.close()


def listen(host: str, port: int) -> socket.socket:
    """Raises OSError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it. Kernels would take megabytes for a client that does not read, and what has been taken
        # for it has been read from its provider and is held until it ends.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        error.filename = f"{host}:{port}"  # whoever reports it says which address
        raise
    listener.setblocking(False)
    return listener


def websocket(*args: Any, **kwargs: Any) -> asyncio.Protocol:
    """The listening side of a connection that has become a WebSocket."""
    from .live_protocol import LiveProtocol

    return LiveProtocol(*args, **kwargs)


async def serve(config: Config, admin_key: str, greet: Callable[[str, int], None]) -> None:
    """Serves until a signal ends it. greet: is told host and port once it is known that it can serve.
    Raises errors.OurError when it cannot start, OSError when the address is taken."""
    listener = listen(config.server.host, config.server.port)
    process = await open_process(config, admin_key, Clock())
    settings = uvicorn.Config(
        process.application,
        http=functools.partial(EdgeProtocol, wave=Wave(asyncio.get_running_loop())),  # type: ignore[arg-type]
        ws=websocket,  # type: ignore[arg-type]  # it is only called
        ws_max_size=4096,  # those who listen have nothing to say
        ws_ping_interval=20,
        ws_ping_timeout=20,
        ws_per_message_deflate=False,
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
    )
    server = Server(settings, process)
    greet(*listener.getsockname()[:2])
    logger.info("midstream is ready on http://%s:%d", *listener.getsockname()[:2])
    asyncio.get_running_loop().call_later(LATER, _load_rest, process)
    await server.serve(sockets=[listener])


def _load_rest(process: Process) -> None:
    process.later.begin().add_done_callback(lambda _: gc.freeze())


def run(config: Config, admin_key: str, greet: Callable[[str, int], None]) -> None:
    """One process until it is told to stop. greet: as of `serve`."""
    gc.freeze()  # what was imported lives as long as the process: no need to look at it again and again
    gc.set_threshold(50_000, 20, 20)
    uvloop.run(serve(config, admin_key, greet))
