"""What is trained: the language model and its conditions, and how they begin.

    text_emb[piece] = sum over its letters of v[letter, place from the front] + v[letter, from the back]

An hour of speech holds most pieces a few times and many not at all; what is learned of the letters of the
frequent ones then reaches the rare ones. It is a beginning only: nothing ties them together later. The maps
back into the residual stream begin small.
Source for the maps: GPT-2 (Radford et al., 2019, sec. 2.3). Dimension key: V vocabulary, E width.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from generation.checkpoints import Checkpoint, load_conditions, load_moshi
from generation.errors import CheckpointError
from generation.moshi import Moshi, MoshiConfig
from generation.moshi.conditions import ConditionConfig, Conditions
from generation.moshi.embedding import Embedding
from generation.text import Text

_TEXT_OUT = "moshi.text_linear.weight"
_OF_TEXT = (_TEXT_OUT, "moshi.text_emb.weight", "moshi.depformer_text_emb.weight")
_PLACES = 6  # from either end; beyond, the last one


class Voice(nn.Module):
    """Both, as one set of parameters."""

    def __init__(self, config: MoshiConfig, conditions: dict[str, ConditionConfig]) -> None:
        super().__init__()
        self.moshi = Moshi(config)
        self.conditions = Conditions(conditions, config.temporal.dim)

    @torch.no_grad()
    def follow(self, other: "Voice", share: float) -> None:
        """Move every parameter by `share` of the way to another's: a running mean over its steps."""
        for own, its in zip(self.parameters(), other.parameters(), strict=True):
            own.lerp_(its, share)


@torch.no_grad()
def begin(model: Moshi, text: Text) -> None:
    """Change the weights of a model as PyTorch made it."""
    for transformer in (model.transformer, model.depformer):
        for name, weight in transformer.named_parameters():
            if "out_proj" in name or "linear_out" in name:
                weight.mul_((2 * transformer.config.num_layers) ** -0.5)
    for embedding in (model.text_emb, model.depformer_text_emb):
        spelled_VE = _spelled(text, embedding.weight.shape[1])
        has_letters_V = spelled_VE.any(dim=1)
        scale = embedding.weight.std() / spelled_VE[has_letters_V].std()
        embedding.weight[: len(spelled_VE)].add_(scale * spelled_VE.to(embedding.weight.device))


@torch.no_grad()
def begin_with(voice: Voice, folder: Path) -> None:
    """Take the weights of a model of the same sizes; voices and styles by their names. Rows that it does not
    have, the user's, begin as zeros: the model says at first what it said before. Pieces that its vocabulary
    does not have stay as they are. Raises CheckpointError.
    """
    checkpoint = Checkpoint.open(folder)
    conditions = load_conditions(checkpoint)
    given = {f"moshi.{name}": value for name, value in load_moshi(checkpoint).state_dict().items()}
    if conditions is not None:
        _take_values(conditions, voice.conditions, folder)
        given |= {f"conditions.{name}": value for name, value in conditions.state_dict().items()}
    for name, own in voice.state_dict().items():
        if name in given and given[name].shape == own.shape:
            own.copy_(given[name])
        elif name in given and name in _OF_TEXT and given[name].shape[1:] == own.shape[1:]:
            _take_pieces(own, given[name], has_initial=name != _TEXT_OUT)
        elif name not in given and name.startswith("moshi.emb."):
            own.zero_()
        else:
            raise CheckpointError(
                f"{folder} cannot be gone on with: its {name} is of another size or missing"
            )


def _take_pieces(own_VE: Tensor, given_VE: Tensor, has_initial: bool) -> None:
    """Leave the pieces at the end, behind which stands, where there is one, the initial token."""
    num, room = len(given_VE) - has_initial, len(own_VE) - has_initial
    if num > room:
        raise CheckpointError(f"the vocabulary has {room} pieces where {num} are to be gone on with")
    own_VE[:num] = given_VE[:num]
    if has_initial:
        own_VE[-1] = given_VE[-1]


def _take_values(given: Conditions, wanted: Conditions, folder: Path) -> None:
    """Leave of the given conditions' vectors those of the wanted values, in their order."""
    if given.configs.keys() != wanted.configs.keys():
        raise CheckpointError(f"{folder} cannot be gone on with: it has other conditions")
    for name, config in wanted.configs.items():
        has, needs = given.configs[name].values or (), config.values or ()
        if missing := [value for value in needs if value not in has]:
            raise CheckpointError(f"{folder} cannot be gone on with: it has no {name} {missing[0]}")
        embed = given.conditioners[name].get_submodule("embed")
        assert isinstance(embed, Embedding)
        rows = [has.index(value) for value in needs]
        embed.weight = nn.Parameter(embed.weight[[*rows, len(has)]])


def _spelled(text: Text, width: int) -> Tensor:
    """Zeros for tokens without letters."""
    pieces = [text.piece(token) for token in range(text.vocabulary)]
    letters = {letter: number for number, letter in enumerate(sorted(set("".join(pieces))))}
    vectors_LPE = torch.randn(len(letters), 2 * _PLACES, width)
    spelled_VE = torch.zeros(len(pieces), width)
    for token, piece in enumerate(pieces):
        for index, letter in enumerate(piece):
            front, back = min(index, _PLACES - 1), min(len(piece) - 1 - index, _PLACES - 1)
            spelled_VE[token] += vectors_LPE[letters[letter], front]
            spelled_VE[token] += vectors_LPE[letters[letter], _PLACES + back]
        if piece:
            spelled_VE[token] /= len(piece) ** 0.5
    return spelled_VE
