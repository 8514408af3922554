"""Aesthetic: one score an image, for predicates, for sampling and for choosing among duplicates."""
