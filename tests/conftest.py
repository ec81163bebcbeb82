"""Fixtures that several rooms share."""

from __future__ import annotations

import pytest

from tests import databases, media, report_media


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """A module stays in one process, and so do all tests of a real Ray, which start first.

    Torn apart, each process would make the module's fixtures, a service or a browser, again.
    """
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group").args != ("ray",))


@pytest.fixture(scope="session")
def clean_scene():
    """Eight seconds of clean moving picture; do not change it in place."""
    return media.scene()


@pytest.fixture(scope="session")
def clean_programme():
    """Eight seconds of clean stereo sound; do not change it in place."""
    return media.programme()


@pytest.fixture(scope="module")
def chromium():
    """A real browser; skips where there is none."""
    place = report_media.chromium()
    if place is None:
        pytest.skip("no Chromium: install the Debian package chromium")
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with api.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=place, args=report_media.CHROMIUM_OPTIONS, headless=True
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server; skips where there is none."""
    with databases.server() as one:
        if one is None:
            pytest.skip("no PostgreSQL: install the Debian package postgresql")
        yield one


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request):
    """A database for a store: None (its file), and the URL of an empty one."""
    if request.param == "sqlite":
        return None
    return request.getfixturevalue("postgres").fresh()
