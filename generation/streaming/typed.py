"""torch.nn with types: what a module maps, and what a list of modules holds."""

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar, cast

from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class Map(nn.Module):
    """A module that maps one tensor to one tensor and remembers nothing."""

    __call__: Callable[..., Tensor]


class Identity(Map):
    """The map that does nothing: it has no parameters and leaves no key."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class Stack(nn.ModuleList, Generic[M]):
    """A ModuleList of one kind of module."""

    def __init__(self, modules: Iterable[M]) -> None:
        super().__init__(modules)

    def __iter__(self) -> Iterator[M]:
        return cast(Iterator[M], super().__iter__())

    def at(self, index: int) -> M:
        """The module of that number."""
        return cast(M, self[index])
