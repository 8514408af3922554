"""From a page's content to HTML: hostile text stays text, and nothing but the page is loaded."""

import base64
import hashlib
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from curation.report import wording
from curation.report.page import Page

_PACKAGE = "curation.report"


def render(page: Page) -> str:
    """Return the HTML of a page.

    Every value is escaped, and every character that is not printable is shown as its escape, so
    that a file name can neither become markup nor turn the text around it.
    """
    css = resources.files(_PACKAGE).joinpath("templates/report.css").read_text(encoding="utf-8")
    template = _environment().get_template("report.html.j2")
    return template.render(page=page, css=Markup(css), policy=content_policy(css))


def content_policy(css: str) -> str:
    """Return a content security policy that admits this style and images in the page itself."""
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(_PACKAGE, "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "n": wording.count,
        "num": wording.number,
        "tick": wording.tick,
        "size": wording.size,
        "short": wording.shortened,
        "name": wording.last_name,
        "seconds": wording.duration,
        "xy": wording.coordinate,
        "plural": wording.plural,
    }
    environment.globals |= {"percent": wording.percent}
    return environment


def _finalize(value: Any) -> Any:
    assert value is not None, "a template shows a value that is not there"
    if isinstance(value, str) and not isinstance(value, Markup):
        return wording.printable(value)
    return value
