"""Embed: one unit vector an image, for clusters, semantic duplicates and search by example."""
