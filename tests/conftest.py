"""What every test runs under."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# One thread for each numerical library, as in the workers: results must not depend on how many
# cores a machine has. Set before numpy is imported; processes that tests start inherit it.
for _name in (
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
):
    os.environ[_name] = "1"

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

# How long one example takes says something about the machine, not about us. The gate tries the same
# examples each time, so that its answer is about the change; `HYPOTHESIS_PROFILE=explore` searches.
settings.register_profile("longtail", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "longtail"))


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what is remembered of weights out of the home of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LONGTAIL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Chromium: the system's, or the one that Playwright installed."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright:
        if path is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip(
                "no Chromium: apt-get install chromium, or .venv/bin/playwright install chromium, "
                "or name one in CHROMIUM"
            )
        found = playwright.chromium.launch(executable_path=path)
        yield found
        found.close()
