"""A process of its own: load a language model from a file, step once, say how long and how much memory.

python -m benchmarks.generation.first_frame model.safetensors
"""

import time

STARTED_S = time.time()

import json  # noqa: E402 - the imports are part of what is measured
import resource  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

import torch  # noqa: E402

from generation.checkpoints import Checkpoint, load_moshi  # noqa: E402
from generation.moshi import Stepper  # noqa: E402


def main() -> None:
    """Prints one JSON object. Peak memory includes the pages of the mapped file that were touched."""
    path = Path(sys.argv[1])
    moshi = load_moshi(Checkpoint("shapes", path, path, path))
    loaded_s = time.time() - _process_started_s()
    stepper = Stepper(moshi.prepare(), 1)
    stepper.push(stepper.open(), torch.zeros(1, 8, dtype=torch.long))
    print(
        json.dumps(
            {
                "loaded_s": loaded_s,
                "first_frame_s": time.time() - _process_started_s(),
                "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
            }
        )
    )


def _process_started_s() -> float:
    """Wall clock at the start of this process, interpreter included."""
    ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
    boot_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return boot_s + ticks / 100


if __name__ == "__main__":
    main()
