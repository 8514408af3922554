"""The Hugging Face hub, as far as a download asks it, on loopback."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
"""The only commit of each of its models."""

_TREE = re.compile(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)")
_FILE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


class Hub(ThreadingHTTPServer):
    """Serves models from memory, and refuses as the real one does.

    Attributes:
        models: `<owner>/<name>` -> path -> content.
        gated: Models that want a token.
        stated: Path -> size that the listing states, where that is not the true one.
        cut_after: Bytes after which the next larger file's answer is cut off; null for never.
        stall: Whether such an answer stops there instead, until the hub closes.
        asked: (method, path) of every request.
    """

    daemon_threads = True

    def __init__(self, models: Mapping[str, Mapping[str, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models = models
        self.gated: set[str] = set()
        self.stated: dict[str, int] = {}
        self.cut_after: int | None = None
        self.stall = False
        self.closing = threading.Event()
        self.asked: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        """What `HF_ENDPOINT` should say."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def files(self) -> list[str]:
        """Return the files that were given out."""
        found = (_FILE.fullmatch(path) for method, path in self.asked if method == "GET")
        return sorted({match[3] for match in found if match})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _answer(self, *, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append((self.command, path))
        match = _TREE.fullmatch(path) or _FILE.fullmatch(path)
        files = self.server.models.get(match[1]) if match else None
        if match is None or files is None:
            self._refuse(401, "RepoNotFound", "Repository not found")
        elif match[1] in self.server.gated and "Authorization" not in self.headers:
            self._refuse(401, "GatedRepo", f"Access to model {match[1]} is restricted")
        elif match[2] != COMMIT:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {match[2]}")
        elif match.re is _TREE:
            self._send(json.dumps(self._tree(files)).encode(), "application/json", with_body)
        elif match[3] not in files:
            self._refuse(404, "EntryNotFound", "Entry not found")
        else:
            self._send(files[match[3]], "application/octet-stream", with_body)

    def _tree(self, files: Mapping[str, bytes]) -> list[dict[str, object]]:
        names = {name.rpartition("/")[0] for name in files} - {""}
        tree: list[dict[str, object]] = [
            {"type": "directory", "path": name, "oid": "0" * 40} for name in sorted(names)
        ]
        for name, data in files.items():
            size = self.server.stated.get(name, len(data))
            oid = hashlib.sha1(data).hexdigest()
            tree.append({"type": "file", "path": name, "oid": oid, "size": size})
        return tree

    def _send(self, data: bytes, kind: str, with_body: bool) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        total = len(data)
        data = data[: int(asked[2]) + 1] if asked and asked[2] else data
        self.send_response(206 if asked else 200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data) - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{total}")
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if not with_body:
            return
        cut = self.server.cut_after
        if cut is not None and len(data) > cut:
            self.server.cut_after = None
            self.wfile.write(data[start:cut])
            self.wfile.flush()
            if self.server.stall:
                self.server.closing.wait()
            self.close_connection = True
        else:
            self.wfile.write(data[start:])

    def _refuse(self, status: int, code: str, message: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def serve(models: Mapping[str, Mapping[str, bytes]]) -> Iterator[Hub]:
    """Serve models until the block ends."""
    with Hub(models) as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            hub.closing.set()
            hub.shutdown()
            thread.join()
