"""Everything that a report says, section by section, before any HTML."""

from dataclasses import dataclass

from curation.report.categories import Categories, make_categories
from curation.report.duplicates import DuplicateFacts, count_duplicates
from curation.report.errors import ErrorCount, count_errors
from curation.report.funnel import Funnel, make_funnel
from curation.report.gallery import Gallery, make_gallery
from curation.report.histograms import Histograms, make_histograms
from curation.report.origins import Origin, Totals, count_origins, count_totals
from curation.report.provenance import Provenance, trace
from curation.report.runs import Runs, read_runs
from curation.report.source import Source
from curation.report.tail_plots import Flow, RankPlot, draw_flows, draw_ranks
from curation.report.treemap import Treemaps, draw_treemaps
from curation.report.whatif import WhatIf, make_what_if
from curation.snapshot.manifest import SnapshotManifest


@dataclass(frozen=True)
class Page:
    """The content of a report; what a dataset has no answer to is null or empty."""

    pipeline: str
    manifest: SnapshotManifest | None
    totals: Totals
    funnel: Funnel | None
    categories: Categories | None
    flows: tuple[Flow, ...]
    ranks: RankPlot | None
    treemaps: Treemaps | None
    what_if: WhatIf | None
    histograms: Histograms
    gallery: Gallery
    duplicates: DuplicateFacts | None
    errors: tuple[ErrorCount, ...]
    origins: tuple[Origin, ...]
    runs: Runs
    provenance: Provenance


def make_page(source: Source) -> Page:
    """Collect every section."""
    funnel = make_funnel(source)
    categories = make_categories(source)
    return Page(
        pipeline=source.tables.pipeline,
        manifest=source.manifest,
        totals=count_totals(source),
        funnel=funnel,
        categories=categories,
        flows=() if categories is None else draw_flows(categories),
        ranks=None if categories is None else draw_ranks(categories),
        treemaps=None if categories is None else draw_treemaps(categories),
        what_if=make_what_if(source),
        histograms=make_histograms(source),
        gallery=make_gallery(source, funnel, categories),
        duplicates=count_duplicates(source),
        errors=tuple(count_errors(source)),
        origins=tuple(count_origins(source)),
        runs=read_runs(source),
        provenance=trace(source),
    )
