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
    css, script = read_template("report.css"), read_template("report.js")
    has_script = page.what_if is not None
    template = make_environment().get_template("report.html.j2")
    return template.render(
        page=page,
        css=Markup(css),
        script=Markup(script) if has_script else "",
        payload=Markup(page.what_if.payload) if page.what_if is not None else "",
        policy=content_policy(css, script if has_script else None),
    )


def content_policy(css: str, script: str | None) -> str:
    """Return a content security policy that admits this style, this script and images in the page.

    Data in a script element of another type is no script to a browser and needs no admission.
    """
    scripts = "" if script is None else f"script-src '{_digest(script)}'; "
    return (
        f"default-src 'none'; img-src data:; style-src '{_digest(css)}'; {scripts}"
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def read_template(name: str, package: str = _PACKAGE) -> str:
    """Return a file beside the templates of a package."""
    return resources.files(package).joinpath(f"templates/{name}").read_text(encoding="utf-8")


def make_environment(package: str = _PACKAGE) -> jinja2.Environment:
    """Return what renders the templates of a package: values are escaped, and must be there."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package, "templates"),
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
        "title": wording.title,
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
