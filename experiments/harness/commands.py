"""A module run as a command in a process of its own, timed from outside.

    seconds, answer = commands.call(["experiments", "count", "f.cnf", "--json"], limit=10.0)

The time is that of the whole process: starting, importing, reading, counting, printing.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from inference.workers import process


def call(words: Sequence[Any], limit: float) -> tuple[float, dict[str, Any]]:
    """Runs ``python -m WORDS``; kills it and its children after ``limit`` seconds.

    Returns:
      Its seconds and the last JSON object it printed, on a line of its own; without one,
      ``status`` "timeout", or "failed" with a ``message``.
    """
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-P", "-m", *map(str, words)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=process.environment(),
        start_new_session=True,
    ) as child:
        try:
            printed, errors = child.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            return time.perf_counter() - start, {"status": "timeout"}
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
    return time.perf_counter() - start, _answer(printed, errors, child.returncode)


def _answer(printed: str, errors: str, code: int) -> dict[str, Any]:
    objects = [line for line in printed.splitlines() if line.startswith("{")]
    if code == 0 and objects:
        return json.loads(objects[-1])
    last_line = errors.strip().rsplit("\n", 1)[-1]
    return {"status": "failed", "message": f"exit status {code}: {last_line}"}
