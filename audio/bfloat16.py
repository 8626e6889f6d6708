"""Which number format products of matrices are quickest in. Imports torch; `import audio` alone does not."""

import torch


def multiplies_bfloat16(device_type: str = "cpu") -> bool:
    """Whether the device has a unit for products of bfloat16 matrices, by what torch says of it.

    On a processor those are the tiles of AMX: 1,175 GFLOPS against 173 in float32, one thread (2026-11). The
    vector instructions of older ones were not measured, and a torch that cannot say is taken for a no. A flag
    and not a timed trial: the same machine always computes the same.
    """
    if device_type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    ask = getattr(torch.cpu, "get_capabilities", None)
    return device_type == "cpu" and ask is not None and bool(ask().get("amx_bf16"))
