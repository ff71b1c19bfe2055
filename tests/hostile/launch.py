"""Starts one program under limits and tells what became of it. A process of its own and a small one, because the peak
memory that the system counts for a child begins with that of the process it was forked from.

Reads JSON from stdin: ``argv``, ``folder``, ``seconds`` (of CPU), ``wall``, ``space`` (bytes of address space).
"""

import json
import os
import resource
import signal
import sys


def main() -> None:
    job = json.load(sys.stdin)
    out, err = (os.open(os.path.join(job["folder"], name), os.O_RDWR | os.O_CREAT | os.O_TRUNC) for name in ("o", "e"))
    child = os.fork()
    if child == 0:
        os.setsid()
        os.chdir(job["folder"])
        for stream, number in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
            os.dup2(stream, number)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (job["space"], job["space"]))
        resource.setrlimit(resource.RLIMIT_CPU, (job["seconds"], job["seconds"] + 2))
        os.execv(job["argv"][0], job["argv"])
    too_long = False

    def stop(*_: object) -> None:
        nonlocal too_long
        too_long = True
        os.killpg(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(job["wall"])
    _, status, used = os.wait4(child, 0)
    signal.alarm(0)
    said = [os.pread(stream, 64 << 20, 0).decode("utf-8", "replace") for stream in (out, err)]
    json.dump(
        {
            "exit": os.waitstatus_to_exitcode(status),
            "too_long": too_long,
            "seconds": used.ru_utime + used.ru_stime,
            "peak": used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
            "stdout": said[0],
            "stderr": said[1],
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
