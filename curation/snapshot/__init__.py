"""Snapshots: which rows are in, and for every row why it is out."""
