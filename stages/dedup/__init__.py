"""Dedup: which images are the same, byte for byte or to the eye."""
