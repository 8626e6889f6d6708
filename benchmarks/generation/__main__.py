"""Run the parts that were asked for; see the package's docstring."""

import argparse
import os
import sys
from typing import Any

import torch

from benchmarks.generation import cpu, cuda
from benchmarks.report import table, write

PARTS = ("codec", "lm", "load")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generation")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts of the CPU run")
    parser.add_argument("--num-turns", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    if arguments.device == "cuda":
        if not torch.cuda.is_available():
            sys.exit("no CUDA device here: this part needs one GPU of 40 GB or more")
        rows = cuda.language_model(arguments.num_turns)
    else:
        rows = _on_cpu(arguments.only, arguments.num_turns)
    print(table(["part", "goal", "ours", "package or floor", "ratio"], [_cells(row) for row in rows]))
    for row in rows:
        if "details" in row:
            print(f"{row['part']}: {row['details']}")
    write("generation", {"device": arguments.device, "threads": torch.get_num_threads(), "parts": rows})


def _on_cpu(parts: list[str], num_turns: int) -> list[dict[str, Any]]:
    rows = []
    if "codec" in parts:
        rows.append(cpu.codec(num_turns))
    if "lm" in parts:
        rows.append(cpu.language_model(num_turns))
    if "load" in parts:
        rows.append(cpu.load())
    return rows


def _cells(row: dict[str, Any]) -> list[str]:
    numbers = [f"{row[key]:.1f} ms" if key in row else "" for key in ("ours_ms", "theirs_ms")]
    return [row["part"], row["goal"], *numbers, f"{row['ratio']:.2f}x" if "ratio" in row else ""]


if __name__ == "__main__":
    main()
