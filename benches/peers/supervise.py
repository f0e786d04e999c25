"""Runs a server until SIGTERM and leaves nothing of it behind: `supervise.py COMMAND...`.

Some servers start processes in groups and sessions of their own, which a signal to this one's group does not reach.
The command finds a temporary folder as TMPDIR, which goes with it.
"""
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
# Whoever stops us kills after 10 s what is left, so we do so a little earlier.
GRACE_S = 6.0


def parents():
    """Parent of each process there is."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name before it is in brackets and may have spaces.
            found[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            pass
    return found


def descendants():
    """Every process below this one."""
    parent = parents()
    below = {os.getpid()}
    grown = True
    while grown:
        more = {child for child, of in parent.items() if of in below} | below
        below, grown = more, more != below
    return below - {os.getpid()}


def reap():
    """Takes leave of children that have ended, also of those that others left to us."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def end(main):
    """Asks the server to end, then kills what is left of it."""
    try:
        os.kill(main, signal.SIGTERM)
    except ProcessLookupError:
        pass
    until = time.monotonic() + GRACE_S
    while descendants() and time.monotonic() < until:
        reap()
        time.sleep(0.05)
    while left := descendants():
        for process in left:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        reap()
        time.sleep(0.02)


def main():
    """Exit 0 after a signal, else the server's own status."""
    asked = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.append(True))
    # Processes whose parent has ended become our children instead of the system's.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # Not in a deeper folder: paths of sockets may have no more than 107 letters.
    temporary = tempfile.mkdtemp(prefix="peer.")
    server = subprocess.Popen(sys.argv[1:], env={**os.environ, "TMPDIR": temporary})
    try:
        while not asked and server.poll() is None:
            time.sleep(0.1)
        status = 0 if asked else server.returncode or 1
        end(server.pid)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sys.exit(status)


main()
