"""Categorize: put every image into a category that was found on a sample of the corpus."""
