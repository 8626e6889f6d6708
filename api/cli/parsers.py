"""The type of what `argparse` hands to each command module, under a name that can be written."""

import argparse
from typing import TypeAlias

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
