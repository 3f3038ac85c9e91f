"""Tiny runs that are hurt, in children of the nursery (`tests/nursery.py`): a kill costs little there."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]  # modules beside this one and above it
