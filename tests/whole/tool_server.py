"""A real HTTP server that tools and webhooks call: it remembers every call and how many were under way at once."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec


class ToolServer:
    """`/echo` answers with what it got, `/slow` after `slow` seconds, `/fail` with 500, `/to/HOST/...`
    with a redirect to http://HOST/.... Use as a context manager."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.slow = 0.3
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def __enter__(self) -> ToolServer:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                size = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(size)
                status, answer = outer._called(self.command, self.path, dict(self.headers), body)
                self.send_response(status)
                if self.path.startswith("/to/"):
                    self.send_header("location", f"http://{self.path.removeprefix('/to/')}")
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = _answer

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _called(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        headers = {name.lower(): value for name, value in headers.items()}
        value = msgspec.json.decode(body) if body else None
        with self._lock:
            self.calls.append({"method": method, "path": path, "headers": headers, "body": value})
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        if path.startswith("/slow"):
            time.sleep(self.slow)
        with self._lock:
            self.at_once -= 1
        if path.startswith("/to/"):
            return 307, b""
        if path.startswith("/fail"):
            return 500, b'{"why":"it failed"}'
        return 200, msgspec.json.encode({"path": path, "got": value})

    def to(self, path: str) -> list[dict[str, Any]]:
        return [call for call in self.calls if call["path"].startswith(path)]
