"""Tools for developing Longtail; not installed with it."""
