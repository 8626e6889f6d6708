"""What the runs that kill have in common: children of this process, and the database's processes.

Children are forked, so that they start at once: the process that calls this must have no threads. Whoever
imports torch does it before, and computes nothing.
"""

import argparse
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.process import children
from benchmarks.report import write


def command(
    name: str, description: str, num_kills: int, run: Callable[[Path, int, int], dict[str, Any]]
) -> None:
    """The command line of such a run, `run(folder, num_kills, seed)`: print and write what it counted; exit
    code 1 when anything was broken."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--kills", type=int, default=num_kills)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="earmark-kills-") as folder:
        Path(folder).chmod(0o711)  # the database's own account passes through
        result = run(Path(folder), args.kills, args.seed)
    print(", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in result.items()))
    write(name, result)
    sys.exit(1 if result["problems"] else 0)


def start(work: Callable[[], object]) -> int:
    """Run `work` in a child until it returns or is killed; returns the process number."""
    child = os.fork()
    if child:
        return child
    try:
        logging.disable()  # the errors of a database that is killed are what is wanted
        work()
        os._exit(0)
    finally:
        os._exit(1)


def run_to_the_end(work: Callable[[], object]) -> bool:
    """Whether `work` returned, in a child of its own."""
    return os.waitpid(start(work), 0)[1] == 0


def kill(pid: int) -> None:
    """At once, and wait for its end."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def postmaster(data_dir: Path) -> int | None:
    """The main process of the folder's PostgreSQL; None when none runs now."""
    try:
        pid = int((data_dir / "postgres" / "cluster" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, 0)
    except (OSError, ValueError, IndexError):
        return None
    return pid


def signal_postmaster(data_dir: Path, number: signal.Signals = signal.SIGKILL) -> bool:
    """SIGQUIT is what `pg_ctl stop -m immediate` sends. False when none runs now."""
    pid = postmaster(data_dir)
    if pid is None:
        return False
    try:
        os.kill(pid, number)
    except OSError:
        return False
    return True


def kill_backend(data_dir: Path, choose: Callable[[list[int]], int]) -> bool:
    """Kill one of the processes that serve connections; PostgreSQL then restarts all of them. False when
    there is none now."""
    pid = postmaster(data_dir)
    try:
        backends = [] if pid is None else [child for child in children(pid) if _serves(child)]
        if backends:
            os.kill(choose(backends), signal.SIGKILL)
    except OSError:
        return False
    return bool(backends)


def _serves(pid: int) -> bool:
    """Whether it is a connection's process: the others name what they do where this one names its user."""
    try:
        return b"postgres: earmark" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
