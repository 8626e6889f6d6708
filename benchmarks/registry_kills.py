"""Kill what registers and indexes, and PostgreSQL, at random: `python -m benchmarks.registry_kills`.

Two processes register speech as the service does, search, and rebuild the index now and then; both share a
data folder and its index, whose segments are so small here that one is sealed or merged every few seconds.
One of them is killed (SIGKILL), or a backend of PostgreSQL (SIGKILL: it restarts them all), or its main
process (SIGQUIT: immediate stop; SIGKILL). A generation counts as acknowledged once `register` has returned
and its id was written to a file. After each kill, in a fresh process: every acknowledged generation is
complete, the index holds every stored window once and no other, every segment file is whole, and audio of the
last acknowledged one is found as itself. Prints one line and writes benchmarks/results/registry_kills.json.
"""

import functools
import json
import os
import random
import signal
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ
from benchmarks import kills
from registry import (
    DatabaseUnavailable,
    DataFolderError,
    GenerationState,
    Registry,
    RegistryError,
    UnknownGeneration,
    replica,
)
from registry.index import WindowIndex
from registry.postgres import stop

NUM_WRITERS = 2
HOT_WINDOWS = 64  # in place of 8192: 30 s of speech fill it
LONGEST_PAUSE_S = 2.0
RECOVERY_LIMIT_S = 120.0
KINDS = {"writer": 0.5, "backend": 0.25, "immediate stop": 0.15, "main process": 0.1}  # shares of the kills
REBUILD_SHARE = 0.1  # of what a writer does
LENGTHS_S = (5.0, 12.0)  # less is too little to be told among tens of thousands of windows


def main() -> None:
    """Kill, check, print, write."""
    kills.command("registry_kills", "kill the registry's writers and its database", 1000, run)


def run(folder: Path, num_kills: int, seed: int = 0) -> dict[str, Any]:
    """Kill so many times, look after each, and count what was acknowledged and what was broken."""
    data_dir, acknowledged = folder / "data", folder / "acknowledged"
    acknowledged.mkdir(parents=True)
    work = functools.partial(_write_for_ever, data_dir, acknowledged)
    assert kills.run_to_the_end(lambda: Registry.open(data_dir).close()), "the registry does not start"
    rng = random.Random(seed)
    writers = [kills.start(work) for _ in range(NUM_WRITERS)]
    killed = dict.fromkeys(KINDS, 0)
    problems: list[str] = []
    while sum(killed.values()) < num_kills:
        time.sleep(rng.uniform(0.0, LONGEST_PAUSE_S))
        (kind,) = rng.choices(list(KINDS), list(KINDS.values()))
        place = rng.randrange(NUM_WRITERS)
        if not _kill(kind, data_dir, writers[place], rng):
            continue
        killed[kind] += 1
        if kind == "writer":
            writers[place] = kills.start(work)
        problems += [f"after kill {sum(killed.values())} ({kind}): {one}" for one in _look(folder)]
        if not sum(killed.values()) % 10:
            print(f"{killed}, problems: {problems}", flush=True, file=sys.stderr)
    for writer in writers:
        kills.kill(writer)
    problems += [f"at the end: {one}" for one in _look(folder)]
    stop(data_dir)
    report = json.loads((folder / "report.json").read_text())
    return {
        "kills": killed,
        "acknowledged": len(list(acknowledged.iterdir())),
        **report,
        "problems": problems,
    }


def _kill(kind: str, data_dir: Path, writer: int, rng: random.Random) -> bool:
    """False when there was nothing to kill."""
    if kind == "backend":
        return kills.kill_backend(data_dir, rng.choice)
    if kind == "immediate stop":
        return kills.signal_postmaster(data_dir, signal.SIGQUIT)
    if kind == "main process":
        return kills.signal_postmaster(data_dir)
    kills.kill(writer)
    return True


def _look(folder: Path) -> list[str]:
    """What is wrong now, seen by a process that has just started."""
    (folder / "report.json").unlink(missing_ok=True)
    if not kills.run_to_the_end(functools.partial(_check, folder)):
        return ["the check itself failed"]
    return list(json.loads((folder / "report.json").read_text()).pop("problems"))


def _check(folder: Path) -> None:
    """Tried again while the database is coming back, as an operator would."""
    _seal_small_segments()
    deadline_s = time.monotonic() + RECOVERY_LIMIT_S
    while True:
        try:
            report = _report(folder)
            break
        except RegistryError as exc:
            report = {"problems": [f"{type(exc).__name__}: {exc}"]}
            if time.monotonic() > deadline_s or not isinstance(exc, DatabaseUnavailable | DataFolderError):
                break
        time.sleep(0.2)
    (folder / "report.json").write_text(json.dumps(report))


def _report(folder: Path) -> dict[str, Any]:
    names = [uuid.UUID(path.name) for path in sorted((folder / "acknowledged").iterdir())]
    problems: list[str] = []
    with Registry.open(folder / "data") as registry:
        for name in names:
            try:
                state = registry.generation(name).state
            except UnknownGeneration as exc:
                problems.append(str(exc))
                continue
            if state is not GenerationState.COMPLETE:
                problems.append(f"{name} was acknowledged and is {state}")
        checked = registry.index.check()
        if not checked.passed:
            problems.append(f"the index differs: {checked}")
        if names:
            newest = max(names, key=lambda name: name.int)
            seed = int((folder / "acknowledged" / str(newest)).read_text())
            found = registry.match(_speech(seed), SAMPLE_RATE_HZ)
            if newest not in {match.generation_id for match in found.matches}:
                problems.append(f"{newest} is not found by its own audio: {found.outcome}, {found.reason}")
        status = registry.index.status()
    return {
        "windows": checked.num_windows_indexed, "segments": status.num_segments, "problems": problems
    }  # fmt: skip


def _write_for_ever(data_dir: Path, acknowledged: Path) -> None:
    """What fails was not acknowledged; a client would send it again."""
    _seal_small_segments()
    rng = random.Random(os.getpid())
    while True:
        with suppress(RegistryError), Registry.open(data_dir) as registry:
            while True:
                seed = rng.getrandbits(32)
                name = registry.register(_speech(seed), SAMPLE_RATE_HZ)
                partial = acknowledged.with_name(f"{name}.part")
                partial.write_text(str(seed))
                partial.replace(acknowledged / str(name))
                registry.index.catch_up()
                if rng.random() < REBUILD_SHARE:
                    registry.index.rebuild()
        time.sleep(0.1)


def _seal_small_segments() -> None:
    vars(replica)["WindowIndex"] = functools.partial(WindowIndex, hot_windows=HOT_WINDOWS)


def _speech(seed: int) -> NDArray[np.float32]:
    """Noise whose level and band change ten times a second: no two of them are alike."""
    rng = np.random.default_rng(seed)
    num_samples = int(rng.uniform(*LENGTHS_S) * SAMPLE_RATE_HZ)
    step = SAMPLE_RATE_HZ // 10
    levels = np.repeat(rng.uniform(0.05, 0.5, num_samples // step + 1), step)[:num_samples]
    widths = np.repeat(rng.integers(1, 40, num_samples // step + 1), step)[:num_samples]
    noise = np.cumsum(rng.uniform(-1.0, 1.0, num_samples + 41))
    ends = np.arange(num_samples) + 40
    wav_T = levels * (noise[ends] - noise[ends - widths]) / np.sqrt(widths)
    return np.asarray(wav_T, np.float32)


if __name__ == "__main__":
    main()
