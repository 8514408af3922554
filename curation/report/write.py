"""Writing the page: a whole file or none."""

import uuid
from pathlib import Path

from curation.dataset import Dataset
from curation.errors import StorageError
from curation.pipeline.instances import Registry
from curation.report.page import make_page
from curation.report.render import render
from curation.report.source import open_source


def write_report(dataset: Dataset, snapshot: str | None, out: Path, registry: Registry) -> None:
    """Write what a dataset or a snapshot holds, keeps and leaves out, as one HTML file.

    The same dataset and snapshot give the same bytes.

    Args:
        dataset: The dataset.
        snapshot: The beginning of a snapshot's id; null for the latest, or for a report of the
            dataset without decisions where there is none.
        out: The file; one that is there is replaced.
        registry: The stages that exist.

    Raises:
        SnapshotError: There is no such snapshot.
        UsageError: The dataset has no pipeline that the report could follow.
        StorageError: The file cannot be written.
    """
    html = render(make_page(open_source(dataset, snapshot, registry)))
    temporary = out.with_name(f".tmp-{uuid.uuid4().hex}")
    try:
        temporary.write_text(html, encoding="utf-8")
        temporary.replace(out)
    except OSError as error:
        message = f"{out}: cannot be written: {error.strerror or error}; name another file"
        raise StorageError(message) from error
    finally:
        temporary.unlink(missing_ok=True)
