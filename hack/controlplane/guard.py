"""A tiny process that outlives its parent just long enough to end the parent's children.

Run by path (not imported) as the leader of the process group that holds all components of a plane. The parent keeps
the other end of this process's standard input:

* the parent sends a byte: an orderly stop, nothing is left to do;
* end of file: the parent died, however that happened. The whole group is killed, including this process, and the
  folders named on the command line are removed.

Why not prctl(PR_SET_PDEATHSIG): it follows the *thread* that started the child, so a plane started in a worker thread
would die with that thread, it needs code between fork and exec, and it exists on Linux only. A pipe has none of this.
"""

import os
import shutil
import signal
import sys


def main(folders: list[str]) -> None:
    """Wait for the parent, then clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if os.read(0, 1):
        return
    group = os.getpgrp()
    if os.fork():
        signal.pause()  # until the kill below: while this process lives, the group's number cannot be given away
    os.setsid()
    os.killpg(group, signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
