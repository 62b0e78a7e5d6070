"""What a piece of work allocates, measured where no other thread allocates."""

import os
import tracemalloc
from collections.abc import Callable


def traced_bytes(work: Callable[[], object]) -> tuple[int, int]:
    """(bytes held afterwards, bytes at the peak) of what Python allocates for `work`.

    In a forked child: threads that other tests left behind allocate, too, and none of them is there. What
    `work` changes in memory stays in the child; it must raise nothing.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            tracemalloc.stop()
            tracemalloc.start()
            work()
            os.write(writing, b"%d %d" % tracemalloc.get_traced_memory())
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    with open(reading, "rb") as answer:
        held, _, peak = answer.read().partition(b" ")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return int(held), int(peak)
