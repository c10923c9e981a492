"""The fitting process: reads calls from stdin, writes answers to stdout, and dies with its parent.

Started as `python -m trimtab.optimize.worker` with BLAS limited to one thread by its environment. A frame is eight
bytes of length (big endian) and a pickle; a call is (function name, study), an answer is what the function returned.
Only the parent writes to the pipe. End of input means that the parent is gone: exit at once, also amid a fit.
"""

from __future__ import annotations

import os
import pickle
import struct
import sys
import threading
from queue import SimpleQueue
from typing import Any, BinaryIO

HEADER = struct.Struct(">Q")
READY = "ready"


def pack(value: object) -> bytes:
    """One frame."""
    body = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    return HEADER.pack(len(body)) + body


def read(stream: BinaryIO) -> Any:
    """The next frame's content.

    Raises:
        EOFError: the other side has closed.
    """
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        raise EOFError
    (size,) = HEADER.unpack(header)
    body = stream.read(size)
    if len(body) < size:
        raise EOFError
    return pickle.loads(body)


def warm_up() -> None:
    """Import and run everything once, so that the first suggestion is not late."""
    import numpy as np

    from trimtab.domain.spec import SliKind
    from trimtab.optimize import designer  # noqa: F401 - the import is the point
    from trimtab.optimize.kernel import Inputs
    from trimtab.optimize.surrogate import Rows, fit, prior_for

    n = 6
    line = np.linspace(0.0, 1.0, n)
    at = Inputs(line[:, None], np.zeros(n), np.zeros(n))
    empty = np.full(n, np.nan)
    rows = Rows(at, -line, np.full(n, 0.01), empty, empty, np.ones(n), np.arange(n), np.ones(n, dtype=bool))
    fit(rows, np.zeros(1, dtype=np.int64), prior_for(SliKind.LATENCY, False, np.ones(1), 1), 20).predict(at)


def answer(call: tuple[str, Any]) -> object:
    """Run one call: `suggest` or `recommend` of `designer`, which never raise."""
    from trimtab.optimize import designer

    name, study = call
    return designer.suggest(study) if name == "suggest" else designer.recommend(study)


def main() -> None:
    """Serve until the parent closes the pipe."""
    calls: SimpleQueue[tuple[str, Any]] = SimpleQueue()
    threading.Thread(target=_receive, args=(calls,), daemon=True).start()
    # Frames get a descriptor of their own: whatever prints (native code writes to descriptor 1) goes to stderr.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    warm_up()
    out.write(pack(READY))
    out.flush()
    while True:
        out.write(pack(answer(calls.get())))
        out.flush()


def _receive(calls: SimpleQueue[tuple[str, Any]]) -> None:
    try:
        while True:
            calls.put(read(sys.stdin.buffer))
    except BaseException:
        os._exit(0)


if __name__ == "__main__":
    main()
