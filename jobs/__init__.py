"""The only package that imports Ray: the Ray runner and the entry points of Ray jobs."""
