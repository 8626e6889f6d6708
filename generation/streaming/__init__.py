"""Building blocks that read a stream in chunks: weights in modules, what was heard so far in states.

    state = module.open(batch_size)
    y = module.push(state, x)              # any chunking gives the same output
    reset_rows(state, rows_B)              # those rows begin again

Layout everywhere: [B, T, C], batch row, time, channels. A module never keeps a state; a state never knows a
weight. There is no offline copy of the maths: a whole signal is one `push` on a fresh state.
"""

from generation.streaming.conv import CausalConv, CausalConvTranspose
from generation.streaming.state import reset_rows, state_bytes, write_rows
from generation.streaming.transformer import Transformer, TransformerConfig

__all__ = [
    "CausalConv",
    "CausalConvTranspose",
    "Transformer",
    "TransformerConfig",
    "reset_rows",
    "state_bytes",
    "write_rows",
]
