"""Pictures for the pages of evidence."""

from pathlib import Path

from benchmarks.evidence.ring import Points

_COLORS = ("#c2410c", "#1d4ed8")


def scatter(path: Path, data: Points, samples: Points, shown: int = 2000) -> None:
    """Draw samples over data, both in the colours of their classes, and save a PNG.

    Args:
        path: The file.
        data: On the left, and grey behind the samples.
        samples: On the right.
        shown: Points of each that are drawn.
    """
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(8, 4.2), sharex=True, sharey=True)
    for panel, points, title in zip(panels, (data, samples), ("data", "samples"), strict=True):
        if points is samples:
            x, y = data.at_N2[:shown].T.tolist()
            panel.scatter(x, y, s=2, color="0.8", linewidths=0)
        for number, color in enumerate(_COLORS):
            mine = points.class_N[:shown] == number
            x, y = points.at_N2[:shown][mine].T.tolist()
            panel.scatter(x, y, s=3, color=color, linewidths=0, label=f"class {number}")
        panel.set(title=title, aspect="equal", xlim=(-2.8, 2.8), ylim=(-2.8, 2.8))
    panels[0].legend(loc="center", fontsize=8, markerscale=3, frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=90, metadata={"Software": None})
    plt.close(figure)
