"""The report in a browser: sliders count right, nothing leaves it, hostile text stays text."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from curation.report import write_report
from curation.report.page import make_page
from curation.report.render import render
from curation.report.sliders import literal, make_panel
from curation.report.source import Source
from curation.snapshot.manifest import Predicate
from tests.curation.report.report_dataset import (
    HOSTILE_CAPTION,
    HOSTILE_NAME,
    HOSTILE_PREDICATE,
    REGISTRY,
    run_pipeline,
    snapshot,
    source_of,
)

pytestmark = pytest.mark.slow


@dataclass
class Visit:
    """A page and what it did."""

    page: Page
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def number(self, name: str) -> int:
        """Return a number that stands in the page."""
        return int((self.page.locator(f"#{name}").text_content() or "").replace(",", ""))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A curated lake with hostile names and captions, and its snapshot."""
    session = run_pipeline(
        tmp_path_factory.mktemp("browser"), more_stages="  told: {stage: saying}\n"
    )
    snapshot(session)
    return source_of(session)


@pytest.fixture(scope="module")
def report(source: Source, tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of the report on it."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(source.dataset, None, path, REGISTRY)
    return path.as_uri()


@pytest.fixture
def visit(browser: Browser, report: str) -> Iterator[Visit]:
    """The report, opened."""
    context = browser.new_context()
    yield open_report(context, report)
    context.close()


def open_report(context: BrowserContext, url: str) -> Visit:
    found = Visit(context.new_page())
    found.page.on("console", lambda message: found.messages.append(message.text))
    found.page.on("pageerror", lambda error: found.messages.append(str(error)))
    found.page.on("dialog", lambda dialog: found.messages.append(dialog.message))
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.goto(url)
    return found


def asked(source: Source, positions: list[int]) -> tuple[int, int]:
    """Ask DuckDB what the page should say where sliders stand at `positions`.

    A lower end is off at the very left, an upper one at the very right.
    """
    panel = make_panel(source, 40)
    assert panel is not None
    assert source.manifest is not None
    terms = [p.sql for p in source.manifest.content.where if p.name not in panel.released]
    for slider, position in zip(panel.sliders, positions, strict=True):
        if position != (0 if slider.is_lower else len(slider.stops)):
            dimension = panel.dimensions[slider.dimension]
            cut = dimension.cuts[slider.stops[position - int(slider.is_lower)]]
            terms.append(f"{dimension.measure.name} {slider.operator} {literal(cut.value)}")
    where = " AND ".join(f"({term})" for term in terms)
    (row,) = source.ask(
        "SELECT count(*) AS passing, count(*) FILTER (WHERE d.kept) AS kept "
        f"{source.scope} AND {where}"
    )
    return row["passing"], row["kept"]


def test_sliders_count_what_duckdb_counts(visit: Visit, source: Source) -> None:
    """Tightened, loosened and dropped, the numbers in the page are those of SQL."""
    inputs = visit.page.locator("#what-if input[type=range]")
    ends = [int(inputs.nth(n).get_attribute("max") or "") for n in range(inputs.count())]
    start = [int(inputs.nth(n).input_value()) for n in range(inputs.count())]
    wide, tall, score = ends
    assert (visit.number("what-if-passing"), visit.number("what-if-kept")) == asked(source, start)
    found = set()
    for positions in (
        [0, 0, 0],
        [wide - 1, start[1], 0],
        [start[0], tall - 2, score // 2],
        [0, 0, score - 3],
        [wide, tall, score],
    ):
        for number, position in enumerate(positions):
            inputs.nth(number).fill(str(position))
        said = (visit.number("what-if-passing"), visit.number("what-if-kept"))
        assert said == asked(source, positions)
        found.add(said)
    assert len(found) > 2


def test_both_ends_of_a_column_count_right(
    browser: Browser, source: Source, tmp_path: Path
) -> None:
    """A column may have two sliders, and `>` and `<=` are not `>=` and `<`."""
    assert source.manifest is not None
    span = Predicate(name="span", sql="inspect_height > 96 AND inspect_height <= 4000")
    where = (*source.manifest.content.where, span)
    content = source.manifest.content.model_copy(update={"where": where})
    ranged = replace(source, manifest=source.manifest.model_copy(update={"content": content}))
    path = tmp_path / "report.html"
    path.write_text(render(make_page(ranged)), encoding="utf-8")
    context = browser.new_context()
    visit = open_report(context, path.as_uri())
    inputs = visit.page.locator("#what-if input[type=range]")
    ends = [int(inputs.nth(n).get_attribute("max") or "") for n in range(inputs.count())]
    start = [int(inputs.nth(n).input_value()) for n in range(inputs.count())]
    said = set()
    for moved in ({}, {2: 0}, {2: ends[2] // 2, 3: ends[3]}, {3: ends[3] - 4}, {1: ends[1], 3: 0}):
        positions = [moved.get(number, position) for number, position in enumerate(start)]
        for number, position in enumerate(positions):
            inputs.nth(number).fill(str(position))
        numbers = (visit.number("what-if-passing"), visit.number("what-if-kept"))
        assert numbers == asked(ranged, positions)
        said.add(numbers)

    assert [inputs.nth(n).get_attribute("aria-label") for n in (2, 3)] == [
        "inspect_height, at least (span)",
        "inspect_height, at most (span)",
    ]
    assert len(said) >= 3
    assert visit.messages == []
    context.close()


def test_sliders_move_by_keys_and_say_where_they_are(visit: Visit, source: Source) -> None:
    """Arrow keys move them; a screen reader hears the threshold; the YAML follows; one resets."""
    score = visit.page.get_by_role("slider", name="aesthetic_score, at least")
    assert score.get_attribute("aria-valuetext") == "off"
    assert visit.page.locator("#what-if-where").text_content() == "nothing moved yet"
    before = visit.number("what-if-passing")

    score.focus()
    for _ in range(int(score.get_attribute("max") or "") - 1):
        visit.page.keyboard.press("ArrowRight")

    value = score.get_attribute("aria-valuetext") or ""
    assert value.startswith(">= ")
    where = visit.page.locator("#what-if-where").text_content()
    assert where == f"min_aesthetic_score: aesthetic_score {value}"
    assert visit.number("what-if-passing") < before
    visit.page.get_by_role("button", name="Reset").press("Enter")
    assert visit.number("what-if-passing") == before
    assert score.get_attribute("aria-valuetext") == "off"


def test_the_page_says_nothing_and_asks_for_nothing(visit: Visit, report: str) -> None:
    """No message in the console, no dialog, and no request but for the file and its own data."""
    visit.page.mouse.wheel(0, 20_000)
    visit.page.wait_for_function("[...document.images].every((image) => image.complete)")

    assert visit.messages == []
    others = [url for url in visit.requests if not url.startswith("data:image/webp;base64,")]
    assert others == [report]
    assert visit.page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")


def test_the_policy_stops_what_a_name_could_bring(visit: Visit) -> None:
    """Even if markup got into the page, it could neither load nor run."""
    stopped = visit.page.evaluate(
        """() => new Promise((resolve) => {
          const stopped = new Set();
          document.addEventListener("securitypolicyviolation", (event) => {
            stopped.add(event.effectiveDirective);
            if (stopped.size === 4) resolve([...stopped].sort());
          });
          document.body.insertAdjacentHTML("beforeend",
            '<img src="https://example.invalid/x" onerror="document.title = 1"><p style="top: 0">');
          const script = document.createElement("script");
          script.textContent = "document.title = 2";
          document.body.append(script);
        })"""
    )

    assert stopped == ["img-src", "script-src-attr", "script-src-elem", "style-src-attr"]
    assert visit.page.title().endswith("Longtail report")


def test_hostile_text_is_text(visit: Visit) -> None:
    """Names, captions and predicates are read as they were written."""
    text = visit.page.locator("body").inner_text()

    assert HOSTILE_NAME in text
    assert HOSTILE_CAPTION in text
    assert HOSTILE_PREDICATE in text
    assert visit.page.locator("img[src='x']").count() == 0
    assert visit.messages == []


def test_without_scripts_all_but_the_sliders_is_there(browser: Browser, report: str) -> None:
    """Every section is read; the page says why the sliders are not."""
    context = browser.new_context(java_script_enabled=False)
    visit = open_report(context, report)

    text = visit.page.locator("body").inner_text()
    for heading in ("The long tail", "The funnel", "What if", "Measures", "Kept", "Left out"):
        assert heading in text
    assert "The sliders need scripts" in text
    assert not visit.page.locator("#slider-0").is_visible()
    assert visit.page.locator("#what-if svg").first.is_visible()
    context.close()


@pytest.mark.parametrize("scripts", [True, False])
def test_colours_follow_the_system_until_chosen(
    browser: Browser, report: str, scripts: bool
) -> None:
    """Light and dark differ, and keys choose between them, with and without scripts."""
    grounds = {}
    for scheme in ("light", "dark"):
        context = browser.new_context(
            color_scheme="light" if scheme == "light" else "dark", java_script_enabled=scripts
        )
        page = open_report(context, report).page
        auto = ground(page)
        page.get_by_role("radio", name="auto").focus()
        page.keyboard.press("ArrowRight")
        light = ground(page)
        page.keyboard.press("ArrowRight")
        grounds[scheme] = (auto, light, ground(page))
        context.close()

    assert grounds["light"][1:] == grounds["dark"][1:]
    assert grounds["light"][0] == grounds["light"][1]
    assert grounds["dark"][0] == grounds["dark"][2] != grounds["light"][0]


def ground(page: Page) -> bytes:
    """Return a picture of a corner of the page that holds nothing else."""
    return page.screenshot(clip={"x": 0, "y": 0, "width": 8, "height": 8})


@pytest.mark.parametrize("width", [390, 768, 1280, 1920])
def test_nothing_is_wider_than_the_window(browser: Browser, report: str, width: int) -> None:
    """From a telephone to a wide screen, the page scrolls in one direction only."""
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = open_report(context, report).page

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def test_labels_of_drawings_do_not_touch(visit: Visit) -> None:
    """No two labels of one drawing lie on each other."""
    touching = visit.page.evaluate(
        """() => [...document.querySelectorAll("svg")].flatMap((drawing) => {
          const boxes = [...drawing.querySelectorAll("text")].map((text) =>
            ({ text: text.textContent, box: text.getBoundingClientRect() }));
          return boxes.flatMap((one, place) => boxes.slice(place + 1)
            .filter((two) => one.box.left < two.box.right && two.box.left < one.box.right
              && one.box.top < two.box.bottom && two.box.top < one.box.bottom)
            .map((two) => [drawing.getAttribute("aria-label"), one.text, two.text]));
        })"""
    )

    assert touching == []
