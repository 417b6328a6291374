import math
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from inference import answer
from inference.workers import process


def alive(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_the_result_comes_back():
    solved = process.call(math.factorial, 30, timeout=60)
    assert (solved.status, solved.value) == (answer.Status.OPTIMAL, math.factorial(30))


def test_the_deadline_kills_the_child():
    start = time.monotonic()
    solved = process.call(time.sleep, 60, timeout=0.5)
    assert solved.status is answer.Status.UNKNOWN
    assert time.monotonic() - start < 10


def test_an_exception_is_a_failure_with_its_message():
    solved = process.call(math.sqrt, -1.0)
    assert solved.status is answer.Status.FAILED
    assert solved.message.startswith("ValueError: ")


def test_the_memory_limit_is_a_failure():
    solved = process.call(bytes, 3 * 10**9, memory=2000)
    assert solved.status is answer.Status.FAILED
    assert "out of memory" in solved.message


def test_a_memory_limit_counts_what_is_taken_beyond_the_start():
    solved = process.call(bytes, 40 * 2**20, memory=48)
    assert (solved.status, len(solved.value)) == (answer.Status.OPTIMAL, 40 * 2**20)
    with pytest.raises(ValueError, match="expected at least 32 MiB of memory, given 31"):
        process.call(bytes, 1, memory=31)


def test_memory_is_limited_for_the_length_of_a_block():
    with process.limited(64):
        with pytest.raises(MemoryError):
            bytes(2**30)
    assert len(bytes(2**30)) == 2**30


def test_a_paused_child_stands_still_and_goes_on():
    start = time.monotonic()
    solved = process.call(time.sleep, 0.2, pause=lambda: time.monotonic() - start < 1.5)
    assert solved.status is answer.Status.OPTIMAL and time.monotonic() - start > 1.5
    solved = process.call(time.sleep, 60, timeout=0.5, pause=lambda: True)
    assert solved.status is answer.Status.UNKNOWN


def test_a_crash_is_a_failure():
    solved = process.call(os._exit, 3)
    assert solved.status is answer.Status.FAILED
    assert "status 3" in solved.message


def test_what_the_function_prints_does_not_spoil_the_reply():
    solved = process.call(os.system, "echo noise", timeout=60)
    assert (solved.status, solved.value) == (answer.Status.OPTIMAL, 0)


def test_a_function_without_a_name_is_refused():
    with pytest.raises(ValueError, match="importable by name"):
        process.call(lambda: 1)


def _children(pid):
    listing = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(word) for word in listing.stdout.split()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc and ps")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_child_outlives_its_parent(number):
    script = "import time; from inference.workers import process; process.call(time.sleep, 600)"
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL) as parent:
        limit = time.monotonic() + 20
        while not (children := _children(parent.pid)) and time.monotonic() < limit:
            time.sleep(0.05)
        assert children
        time.sleep(0.5)  # let the child get to work
        parent.send_signal(number)
        parent.wait(20)
    limit = time.monotonic() + 10
    while any(alive(child) for child in children) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not any(alive(child) for child in children)
