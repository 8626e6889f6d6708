"""LoRA files: low-rank changes of a model's linear maps, and whole tensors that replace the model's.

    (...).lora_A.weight [r, I], (...).lora_B.weight [O, r]     in any spelling of names.py, sets stacked
    any other key of the model                                 takes the place of the model's tensor

Fused, `W + scaling B A` is computed on loading, in float32, and costs nothing later; not fused, the maps stay
apart and keep what training gave them to the last bit.
Source: kyutai-labs/moshi@e6a55d2, modules/lora.py, and what kyutai-labs/moshi-finetune saves.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from generation.checkpoints.checkpoint import Lora
from generation.checkpoints.maps import linear_maps
from generation.checkpoints.names import MOSHI_RENAMES, sources
from generation.checkpoints.weights import Convert, WeightFile, check_names, check_shape
from generation.streaming.lora import LoraLinear

_HALVES = (".lora_A.weight", ".lora_B.weight")


@dataclass(frozen=True)
class Change:
    """What the file holds, checked against the model."""

    lora: Lora
    halves: dict[str, Tensor]  # under the names they have in a `LoraLinear`
    replaced: dict[str, Tensor]
    num_sets: dict[str, int]  # for each linear map that is changed

    @classmethod
    def load(cls, lora: Lora, model: nn.Module) -> "Change":
        """Raises CheckpointError when the file does not fit the model."""
        file = WeightFile(lora.path)
        found = sources(file.keys, MOSHI_RENAMES)
        shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        changed = {}
        for place in linear_maps(model):
            pair = [place.name + half for half in _HALVES]
            if any(name in found for name in pair):
                changed[place.name] = place.num_sets
                num_out, num_in = place.linear.weight.shape
                shapes[pair[0]] = (place.num_sets * lora.rank, num_in)
                shapes[pair[1]] = (num_out, lora.rank)
        needed = {name + half for name in changed for half in _HALVES}
        check_names(file, missing=needed - found.keys(), unexpected=found.keys() - shapes.keys())
        for name, source in found.items():
            check_shape(file, name, source.shape(file), shapes[name])
        tensors = {name: source.read(file) for name, source in found.items()}
        return cls(
            lora,
            {name: tensor for name, tensor in tensors.items() if name in needed},
            {name: tensor for name, tensor in tensors.items() if name not in needed},
            changed,
        )

    def attach(self, model: nn.Module, convert: Convert) -> dict[str, Tensor]:
        """Make room for the maps beside those of the model, which is on the meta device; their tensors."""
        for place in linear_maps(model):
            if place.name in self.num_sets:
                num_out, num_in = place.linear.weight.shape
                with torch.device("meta"):
                    place.put(LoraLinear(num_in, num_out, self.lora.rank, self.lora.scaling, place.num_sets))
        return {name: convert(name, tensor) for name, tensor in self.halves.items()}

    def applied(self, convert: Convert, fuse: bool) -> Convert:
        """`convert` over what the file replaces; with `fuse`, the low-rank change is added."""

        def converted(name: str, tensor: Tensor) -> Tensor:
            weight = convert(name, self.replaced.get(name, tensor))
            module = name.removesuffix(".weight")
            return weight + self._delta(module, weight) if fuse and module in self.num_sets else weight

        return converted

    def _delta(self, module: str, like: Tensor) -> Tensor:
        a_sets, b_sets = (
            self.halves[module + half].to(like.device, torch.float32).chunk(self.num_sets[module])
            for half in _HALVES
        )
        delta = torch.cat([b_OR @ a_RI for a_RI, b_OR in zip(a_sets, b_sets, strict=True)])
        return (delta * self.lora.scaling).to(like.dtype)
