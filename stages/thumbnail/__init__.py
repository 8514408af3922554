"""Thumbnail: a small picture of every image, for people and for whatever shows many at once."""
