"""Small stages for tests: real classes in a registry of their own, chosen by name in YAML."""

from tests.fakes.stages import STAGES

__all__ = ["STAGES"]
