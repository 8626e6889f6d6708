"""SEANet: the convolutions between samples and latents, both ways.

    encoder   conv, then for each ratio (residual blocks, ELU, strided conv), ELU, conv
    decoder   conv, then for each ratio (ELU, transposed conv, residual blocks), ELU, conv

The position of a layer in `model` is its number in the published keys, ELUs included.
Dimension key: B rows, T samples or steps, C channels.
Source: Tagliasacchi et al., 2020; SoundStream (Zeghidour et al., 2021); sizes from Moshi (Defossez et al.,
2024, sec. 3.3.1), in which a residual block precedes each downsampling and follows each upsampling.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from torch import Tensor, nn
from torch.nn import functional

from generation.mimi.config import MimiConfig
from generation.streaming import CausalConv, CausalConvTranspose
from generation.streaming.typed import Stack


class Elu(nn.Module):
    """ELU as a layer of a stream: it remembers nothing."""

    def open(self, batch_size: int) -> None:  # noqa: ARG002 - the shape of every layer
        return None

    def push(self, state: None, x_BTC: Tensor, live_B: Tensor | None = None) -> Tensor:  # noqa: ARG002
        return functional.elu(x_BTC)


class ResidualBlock(nn.Module):
    """`x + conv1(ELU(conv_k(ELU(x))))`, narrower inside by `compress`."""

    def __init__(self, dim: int, hidden: int, kernel: int, dilation: int) -> None:
        super().__init__()
        inner, outer = CausalConv(dim, hidden, kernel, dilation=dilation), CausalConv(hidden, dim, 1)
        layers: list[Elu | CausalConv] = [Elu(), inner, Elu(), outer]
        self.block = Stack(layers)

    def open(self, batch_size: int) -> list[Any]:
        return [layer.open(batch_size) for layer in self.block]

    def push(self, state: list[Any], x_BTC: Tensor, live_B: Tensor | None = None) -> Tensor:
        return x_BTC + _push_all(self.block, state, x_BTC, live_B)


class Layer(Protocol):
    """What a chain is made of: modules that stream."""

    def open(self, batch_size: int) -> Any: ...

    def push(self, state: Any, x_BTC: Tensor, live_B: Tensor | None = None) -> Tensor: ...


class Chain(nn.Module):
    """Layers one after the other; the state is the list of theirs."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.model: Stack[Any] = Stack(layers)

    def open(self, batch_size: int) -> list[Any]:
        return [layer.open(batch_size) for layer in self.model]

    def push(self, state: list[Any], x_BTC: Tensor, live_B: Tensor | None = None) -> Tensor:
        return _push_all(self.model, state, x_BTC, live_B)


def _push_all(layers: Iterable[Layer], state: list[Any], x_BTC: Tensor, live_B: Tensor | None) -> Tensor:
    for layer, layer_state in zip(layers, state, strict=True):
        x_BTC = layer.push(layer_state, x_BTC, live_B)
    return x_BTC


def _residual_blocks(config: MimiConfig, dim: int) -> list[Layer]:
    return [
        ResidualBlock(dim, dim // config.compress, config.residual_kernel, config.dilation_base**index)
        for index in range(config.num_residual_layers)
    ]


def make_encoder(config: MimiConfig) -> Chain:
    """[B, T, 1] to [B, T / product of ratios, latent_dim]."""
    dim = config.num_filters
    layers: list[Layer] = [CausalConv(1, dim, config.kernel)]
    for ratio in reversed(config.ratios):
        layers += _residual_blocks(config, dim)
        layers += [Elu(), CausalConv(dim, 2 * dim, 2 * ratio, stride=ratio)]
        dim *= 2
    return Chain([*layers, Elu(), CausalConv(dim, config.latent_dim, config.last_kernel)])


def make_decoder(config: MimiConfig) -> Chain:
    """[B, T, latent_dim] to [B, T * product of ratios, 1]."""
    dim = config.num_filters * 2 ** len(config.ratios)
    layers: list[Layer] = [CausalConv(config.latent_dim, dim, config.kernel)]
    for ratio in config.ratios:
        layers += [Elu(), CausalConvTranspose(dim, dim // 2, ratio)]
        dim //= 2
        layers += _residual_blocks(config, dim)
    return Chain([*layers, Elu(), CausalConv(dim, 1, config.last_kernel)])
