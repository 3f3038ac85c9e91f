"""What several benchmarks print of finished runs, one after the other."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from reverie.errors import ReverieError


def tell_each(about: str | None, table: Callable[[Path], str], kind: str = "finished runs") -> int:
    """A command whose arguments are runs: prints `table` of each, on one thread; a run of which it raises
    `ReverieError` or `ValueError` gets a line on stderr.

    Args:
        about: what `--help` says.
        table: what is printed of a run.
        kind: of runs, for `--help`.

    Returns:
        The number of runs of which nothing could be told.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="+", help=kind)
    torch.set_num_threads(1)
    failed = 0
    for run in parser.parse_args().run:
        try:
            print(table(run), flush=True)
        except (ReverieError, ValueError) as error:
            print(f"{run}: {error}", file=sys.stderr, flush=True)
            failed += 1
    return failed
