"""What is minimised: one file an objective."""

from typing import Any

from training.objectives.flow import FlowConfig, FlowObjective

AnyObjective = FlowConfig

OBJECTIVES: dict[str, Any] = {"flow": FlowObjective}
"""Name in YAML -> class."""
