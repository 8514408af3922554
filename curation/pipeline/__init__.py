"""The stage contract, the plan, and the machinery that runs a plan on one machine."""
