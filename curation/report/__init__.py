"""One HTML page on a dataset or a snapshot: what is kept, what is left out, and why.

The page is a single file that loads nothing: its images are re-encoded thumbnails inside it, its
style and the one script, which moves the what-if sliders, are admitted by hash, and a content
security policy forbids everything else. It is a pure function of the dataset and the snapshot, and
its size does not grow with theirs: aggregates are integers that DuckDB counts, and images are drawn
by hash.
"""

from curation.report.write import write_report

__all__ = ["write_report"]
