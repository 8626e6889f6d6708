"""Mimi: speech at 24 kHz to 12.5 frames a second of discrete codes, and back."""

from generation.mimi.config import MimiConfig
from generation.mimi.model import Mimi, MimiState

__all__ = ["Mimi", "MimiConfig", "MimiState"]
