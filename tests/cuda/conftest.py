"""What these tests share with the kill tests: one tiny recipe of every family."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
