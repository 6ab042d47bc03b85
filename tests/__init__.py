"""Tests, one folder a package of the code."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"  # real clips and models; tests that need them skip without
