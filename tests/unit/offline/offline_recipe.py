"""The recipe `offline`, so small that a test can afford several runs."""

from tiny_runs import TINY

OFFLINE = [
    *[line for line in TINY if not line.startswith(("env", "stages", "evaluation", "logging"))],
    "stages.learn.until.updates=12",
    "logging.every=4",
    "logging.tensorboard=false",
]
"""Overrides of the recipe `offline` for runs of a second."""
