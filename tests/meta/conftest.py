import sys
from pathlib import Path

# --import-mode=importlib puts no folder on the path, and `sources` is shared by the tests of this one.
sys.path.insert(0, str(Path(__file__).parent))
