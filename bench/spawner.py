"""Starts a small program again and again at an even pace, as a process of its own.

``python -m bench.spawner PROGRAM PER_SECOND COUNT`` prints how many it started and how long that
took, as one JSON object, when all of them have ended.
"""

import json
import os
import sys
import time
from collections.abc import Sequence


def spawn(program: str, per_second: int, count: int) -> dict[str, float]:
    """Start ``count`` processes, one after the other has ended, and return what came of it."""
    began = time.monotonic()
    ended = 0
    for number in range(count):
        wait = began + number / per_second - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        pid = os.posix_spawn(program, [program, f"bench-{number}"], {})
        ended += os.waitpid(pid, 0)[1] == 0
    return {"count": ended, "seconds": time.monotonic() - began}


def main(argv: Sequence[str]) -> None:
    """Do what the arguments say."""
    program, per_second, count = argv
    print(json.dumps(spawn(program, int(per_second), int(count))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
