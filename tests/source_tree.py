"""Where the sources are, for tests that read them."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("statemachine", "seeders", "consumer", "ops")
"""From the bottom up: a package imports itself and what stands before it."""
