"""From a snapshot to batches: which images, when, in which size, with which words."""
