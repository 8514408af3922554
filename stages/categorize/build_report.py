"""What was built, for people: `report.md` beside the head."""

from typing import Any

from stages.categorize.head import Head

_SHOWN_LEAVES = 20


def figures(agreement: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what was measured as (name, value), for a table."""
    return [
        ("top-1 agreement", _share(agreement["top1"])),
        ("top-5 agreement", _share(agreement["top5"])),
        *(
            (f"top-1 at level {level}", _share(share))
            for level, share in enumerate(agreement["by_level"], start=1)
        ),
        ("top-1, biggest tenth of the leaves", _share(agreement["head"])),
        ("top-1, smallest half of the leaves", _share(agreement["tail"])),
        ("rows with a margin of 0.5 or more", _share(agreement["sure_share"])),
        ("top-1 of those", _share(agreement["sure_top1"])),
        ("expected calibration error", _share(agreement["calibration_error"])),
        ("nearest centre of all, untrained", _share(agreement["nearest_center_top1"])),
        ("the biggest leaf for every row", _share(agreement["biggest_leaf"])),
        ("rows measured on", f"{agreement['rows']:,}"),
    ]


def to_markdown(head: Head) -> str:
    """Return the report of a head that `build` made."""
    facts = head.facts
    sample, training, settings = facts["sample"], facts["training"], facts["settings"]
    vectors = facts["vectors"]
    shape = " x ".join(str(width) for width in settings["branching"])
    leaves = sorted(
        zip(facts["leaf_rows"], head.leaves, strict=True),
        key=lambda found: (-found[0], found[1].path),
    )
    text = f"""# Categories

- {facts["num_leaves"]:,} leaves in {facts["levels"]} levels ({shape} asked for)
- {facts["head"]} head on vectors of {head.dimension} numbers of `{vectors["instance"]}`
  ({_config(vectors["config"])})
- {sample["rows"]:,} rows, seed {settings["seed"]}: {sample["training_rows"]:,} for training,
  {sample["validation_rows"]:,} to stop and calibrate by, {sample["test_rows"]:,} to measure on
- training rows of a leaf: {sample["smallest_leaf"]:,} to {sample["largest_leaf"]:,}, median
  {sample["median_leaf"]:,}
- {training["epochs"]} epochs on {training["device"]}, agreement on the validation rows
  {training["validation_agreement"][0]:.4f} to {max(training["validation_agreement"]):.4f};
  temperature {head.temperature:g}

## Agreement with the clustering

On rows that neither the clustering nor the head has seen. It says how well the head imitates the
clustering, not whether the categories mean something.

| figure | value |
| --- | --- |
"""
    text += "".join(f"| {name} | {value} |\n" for name, value in figures(facts["agreement"]))
    text += f"""
## The largest and the smallest leaves, {_SHOWN_LEAVES} each at most

| path | name | training rows |
| --- | --- | --- |
"""
    shown = leaves
    if len(leaves) > 2 * _SHOWN_LEAVES:
        shown = [*leaves[:_SHOWN_LEAVES], *leaves[-_SHOWN_LEAVES:]]
    return text + "".join(f"| {leaf.path} | {leaf.name} | {rows:,} |\n" for rows, leaf in shown)


def _config(config: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in config.items())


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
