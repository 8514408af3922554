"""One event loop for all clients of a process, in a thread of its own."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, wait
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread_id: int | None = None


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the loop, started if need be; safe to call from any thread."""
    global _loop, _thread_id  # noqa: PLW0603 (one a process is the point)
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            thread = threading.Thread(target=_loop.run_forever, name="endpoint", daemon=True)
            thread.start()
            _thread_id = thread.ident
        return _loop


def close_in_loop(work: Coroutine[Any, Any, None], timeout_s: float) -> None:
    """Run a coroutine that ends something, and wait a moment for it unless we are the loop."""
    future = run_in_loop(work)
    if threading.get_ident() != _thread_id:  # the garbage collector runs wherever it likes
        wait([future], timeout_s)


def run_in_loop(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Run a coroutine in the loop; the future may be waited for or cancelled from any thread."""
    return asyncio.run_coroutine_threadsafe(work, running_loop())
