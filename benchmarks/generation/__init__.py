"""Speed and memory of generation, ours against the published package: `python -m benchmarks.generation`.

    python -m benchmarks.generation                     # on this machine's CPU
    python -m benchmarks.generation --device cuda       # the 7B shapes in bfloat16; one GPU of 40 GB or more
    python -m benchmarks.generation --only codec load   # parts by name

Both run the same random weights in one process, turn by turn, so that other work on the machine slows both
alike; times are medians, and what is claimed are their ratios. The package runs as it is: eagerly on a CPU,
with its CUDA graphs and its compiled functions on a GPU. Prints a table and writes
benchmarks/results/generation.json.
"""
