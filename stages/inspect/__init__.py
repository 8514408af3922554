"""Inspect: what a file is, what it looks like in 64 bits, and how good a picture it seems."""
