"""A web server on loopback whose every answer is written byte by byte, so that it can misbehave."""

import socket
import ssl
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    """What a client asked for.

    Attributes:
        headers: By lower-case name.
        number: 1 for the first request of this path.
    """

    path: str
    headers: Mapping[str, str]
    number: int


class Wire:
    """The connection, for an answer to be written to."""

    def __init__(self, file: Any, closing: threading.Event) -> None:
        self.is_cut = False
        self._file = file
        self._closing = closing

    def cut(self) -> None:
        """Close the connection after this answer, as far as it came."""
        self.is_cut = True

    def send(self, data: bytes) -> None:
        """Send bytes at once; OSError where the client has left."""
        self._file.write(data)
        self._file.flush()

    def answer(
        self, body: bytes, *headers: str, status: str = "200 OK", length: int | None = None
    ) -> None:
        """Send a whole answer; `length` for another Content-Length than the true one."""
        stated = len(body) if length is None else length
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {stated}", *headers, "", ""]
        self.send("\r\n".join(lines).encode("latin-1") + body)

    def hang(self) -> None:
        """Do nothing until the server is closed."""
        self._closing.wait()

    def trickle(self) -> Iterator[None]:
        """Yield again and again, after a moment each, until the server is closed."""
        while not self._closing.wait(0.02):
            yield


Answer = Callable[[Request, Wire], None]


class Web(ThreadingTCPServer):
    """Answers each path with what `routes` holds for it; 404 elsewhere.

    Attributes:
        routes: Path -> function that writes the answer.
        asked: Path -> requests for it.
        requests: All of them, in the order in which they came.
        most_at_once: Most requests that were being answered at a time.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, host: str, context: ssl.SSLContext | None) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.routes: dict[str, Answer] = {}
        self.asked: Counter[str] = Counter()
        self.requests: list[Request] = []
        self.most_at_once = 0
        self.closing = threading.Event()
        self.context = context
        self._now = 0
        self._lock = threading.Lock()
        super().__init__((host, 0), _Handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        scheme = "http" if self.context is None else "https"
        return f"{scheme}://{host}:{self.port}{path}"

    def note(self, path: str, headers: Mapping[str, str]) -> Request:
        with self._lock:
            self.asked[path] += 1
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            request = Request(path, headers, self.asked[path])
            self.requests.append(request)
        return request

    def done(self) -> None:
        with self._lock:
            self._now -= 1

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that end the handshake; whatever else went wrong is a bug."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(StreamRequestHandler):
    server: Web

    def setup(self) -> None:
        if self.server.context is not None:
            self.request = self.server.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle(self) -> None:
        with suppress(OSError):
            while (head := self._head()) and head[0].endswith("HTTP/1.1"):
                pairs = [line.partition(": ") for line in head[1:]]
                headers = {name.lower(): value for name, _, value in pairs}
                request = self.server.note(head[0].split()[1], headers)
                wire = Wire(self.wfile, self.server.closing)
                try:
                    self.server.routes.get(request.path, _missing)(request, wire)
                finally:
                    self.server.done()
                if wire.is_cut:
                    return

    def _head(self) -> list[str]:
        lines = []
        while line := self.rfile.readline().decode("latin-1").rstrip("\r\n"):
            lines.append(line)
        return lines


def _missing(request: Request, wire: Wire) -> None:
    wire.answer(b"nothing here", status="404 Not Found")


def serve_for_ever() -> Web:
    """Run a server for as long as the process lives."""
    web = Web("127.0.0.1", None)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    return web


@contextmanager
def serve(host: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> Iterator[Web]:
    """Run a server on a free port of `host` until the block is left."""
    web = Web(host, context)
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        web.closing.set()
        web.shutdown()
        web.server_close()
        thread.join()
