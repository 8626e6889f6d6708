"""Choosing a token from logits, with the randomness as an input.

    token = argmax over the k most likely of  logit / temperature - log(E),  E ~ Exp(1), one for each token

which draws from the softmax of those k (Gumbel-max). The exponential variates come from a `NoiseSource`: a
seeded generator for each stream here; a keyed function of the past would make the choice itself a watermark
(Aaronson, 2022), with no other change.
Dimension key: B rows, K spoken codebooks, V vocabulary.
Source: kyutai-labs/moshi, utils/sampling.py, the same law; differs: noise for every token and not for every
rank, so that a token's noise does not depend on the logits; temperature and k for each row.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

LARGEST_TOP_K = 250


@dataclass(frozen=True)
class Sampling:
    """How one stream chooses. Temperature 0 takes the most likely token. Defaults: the published ones."""

    temperature: float = 0.8
    top_k: int = 250
    text_temperature: float = 0.7
    text_top_k: int = 25

    def __post_init__(self) -> None:
        for name in ("temperature", "text_temperature"):
            if not 0 <= getattr(self, name) <= 10:
                raise ValueError(f"{name} is from 0 to 10, not {getattr(self, name)}")
        for name in ("top_k", "text_top_k"):
            if not 1 <= getattr(self, name) <= LARGEST_TOP_K:
                raise ValueError(f"{name} is from 1 to {LARGEST_TOP_K}, not {getattr(self, name)}")

    @classmethod
    def greedy(cls) -> "Sampling":
        """Always the most likely token."""
        return cls(temperature=0.0, text_temperature=0.0)


@dataclass
class Noise:
    """Exp(1) variates of one step, all positive. Filled in place: a captured graph reads this memory."""

    text_BV: Tensor
    audio_BKV: Tensor

    @classmethod
    def empty(cls, batch_size: int, text: int, codebooks: int, audio: int, device: torch.device) -> "Noise":
        """Ones, with which every choice is the most likely token."""
        return cls(
            torch.ones(batch_size, text, device=device),
            torch.ones(batch_size, codebooks, audio, device=device),
        )


class NoiseSource(Protocol):
    """Where the randomness of one stream comes from."""

    def fill(self, text_V: Tensor, audio_KV: Tensor) -> None:
        """Overwrite both with the Exp(1) variates of the stream's next step. Called once for each step that
        the stream takes, from the thread that steps the model."""


class SeededNoise:
    """A generator of its own for a stream: the same seed gives the same noise, whatever other streams do.

    On one kind of device only: generators of CPU and CUDA differ. `seed` None takes one from the system.
    """

    def __init__(self, seed: int | None, device: torch.device) -> None:
        self._generator = torch.Generator(device=device)
        if seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(seed)

    def fill(self, text_V: Tensor, audio_KV: Tensor) -> None:
        text_V.exponential_(generator=self._generator)
        audio_KV.exponential_(generator=self._generator)


@dataclass
class Choice:
    """Temperature and k of each row, as tensors that a captured graph can read."""

    temperature_B: Tensor
    top_k_B: Tensor

    @classmethod
    def rows(cls, batch_size: int, device: torch.device) -> "Choice":
        """Greedy rows."""
        zeros = torch.zeros(batch_size, device=device)
        return cls(zeros, torch.ones(batch_size, dtype=torch.long, device=device))

    def set(self, row: int, temperature: float, top_k: int) -> None:
        self.temperature_B[row] = temperature
        self.top_k_B[row] = top_k


def choose(logits_BV: Tensor, noise_BV: Tensor, choice: Choice) -> Tensor:
    """One token for each row: int64 [B]. Nothing here waits for the device."""
    top_BN, tokens_BN = logits_BV.float().topk(min(LARGEST_TOP_K, logits_BV.shape[1]), dim=1)
    temperature_B1 = choice.temperature_B[:, None]
    score_BN = top_BN / temperature_B1.clamp(min=1e-6) - noise_BV.gather(1, tokens_BN).log()
    rank_N = torch.arange(top_BN.shape[1], device=logits_BV.device)
    score_BN = score_BN.masked_fill(rank_N >= choice.top_k_B[:, None], -torch.inf)
    score_BN = torch.where(temperature_B1 > 0, score_BN, top_BN)
    best_B1 = score_BN.argmax(dim=1, keepdim=True)
    return tokens_BN.gather(1, best_B1)[:, 0]
