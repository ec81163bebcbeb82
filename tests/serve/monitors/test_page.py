"""The live page in a real browser, with a real Serve and origin."""

from __future__ import annotations

import time

import httpx
import numpy as np
import pytest

from tests import media
from tests.live import origin
from tests.serve.real import MARKS

pytestmark = [*MARKS, pytest.mark.timeout(590), pytest.mark.browser]
SKIP = ["sync"]  # imports torch, for which nothing here has a use


@pytest.fixture
def page(chromium):
    said = []
    context = chromium.new_context(viewport={"width": 1280, "height": 860})
    made = context.new_page()

    def console(message):
        if message.type in ("error", "warning"):
            said.append(f"{message.text} {message.location.get('url')}")

    made.on("console", console)
    made.on("pageerror", lambda error: said.append(str(error)))
    yield made
    context.close()
    # a browser reports these by itself: before a key was entered, and for a wrong address
    meant = ("401 (Unauthorized)", "422 (Unprocessable")
    assert [text for text in said if not any(one in text for one in meant)] == []


def test_the_page_in_the_dark_asks_nobody_else(chromium, service, admin):
    """Dark as the system is; not one request leaves the origin; text is light on dark."""
    admin.watch("udp://127.0.0.1:9", "night")
    context = chromium.new_context(color_scheme="dark")
    asked, seen = [], {}
    context.on("request", lambda request: asked.append(request.url))
    page = context.new_page()
    try:
        enter(page, service)
        page.locator(".tile", has_text="night").wait_for()
        page.locator(".tile", has_text="night").click()
        page.locator("#detail-events, #timeline").first.wait_for(state="attached")
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            seen[scheme] = page.evaluate(_LIGHTNESS)
    finally:
        context.close()
    dark, light = seen["dark"], seen["light"]
    assert dark["ground"] < 60
    assert dark["text"] > 180
    assert light["ground"] > 200
    assert light["text"] < 80
    assert len(asked) > 5
    assert {httpx.URL(url).netloc.decode() for url in asked if not url.startswith("data:")} == {
        f"127.0.0.1:{service.port}"
    }


_LIGHTNESS = """() => {
    const style = getComputedStyle(document.body);
    const paint = document.createElement("canvas").getContext("2d");
    const mean = (colour) => {
        paint.fillStyle = colour;
        paint.fillRect(0, 0, 1, 1);
        const [r, g, b] = paint.getImageData(0, 0, 1, 1).data;
        return (r + g + b) / 3;
    };
    return { ground: mean(style.backgroundColor), text: mean(style.color) };
}"""


def enter(page, service) -> None:
    page.goto(service.url)
    page.get_by_label("Key", exact=True).fill(service.keys["admin"])
    page.get_by_role("button", name="Enter").click()
    page.wait_for_selector("#link[data-state=live]")


@pytest.mark.usefixtures("admin")
def test_the_page_shows_a_stream_its_defect_and_what_happened(page, service, programme):
    folder, lengths = programme
    enter(page, service)
    page.get_by_text("Nothing is watched").wait_for()
    with origin.live_hls(folder, lengths) as live:
        page.get_by_role("button", name="Watch a stream").click()
        page.get_by_label("Address", exact=True).fill("nonsense")
        page.get_by_role("button", name="Watch it").click()
        page.locator("#adding .problem").wait_for()
        page.get_by_label("Address", exact=True).fill(live.url)
        page.locator("#adding [name=name]").fill("page")
        page.locator("#adding [name=labels]").fill("cdn=a, channel=7")
        page.get_by_role("button", name="Watch it").click()
        tile = page.locator(".tile", has_text="page")
        tile.wait_for()
        page.locator(".tile[data-state=watching]").wait_for(timeout=90_000)
        chip = tile.locator(".chip", has_text="black")
        chip.wait_for(timeout=40_000)
        page.locator("#counts", has_text="1 with defects").wait_for()
        listed = page.locator("#log li", has_text="black").first
        assert "page" in listed.inner_text()
        tile.click()
        page.locator("#timeline svg").wait_for()
        assert page.locator("#timeline text", has_text="black").count() == 1
        said = page.locator("#timeline svg").get_attribute("aria-label")
        assert "events of" in said
        page.wait_for_function(
            "() => [...document.querySelectorAll('#detail-events img')]"
            ".some((i) => i.complete && i.naturalWidth === 256)"
        )
        page.keyboard.press("Escape")
        chip.wait_for(state="detached", timeout=40_000)  # the defect is over
        page.get_by_label("Filter streams").fill("cdn b")
        page.get_by_text("No stream fits").wait_for()
        page.get_by_label("Filter streams").fill("channel 7")
        tile.wait_for()
        page.once("dialog", lambda dialog: dialog.accept())
        tile.click()
        page.get_by_role("button", name="Watch it no more").click()
        tile.wait_for(state="detached")


@pytest.mark.slow
def test_a_defect_is_on_the_page_within_three_seconds(page, service, admin, programme):
    """Of what a worker can know: a machine that is busy with other tests shows it later."""
    folder, lengths = programme
    enter(page, service)
    with origin.live_hls(folder, lengths) as live:
        admin.watch(live.url, "soon", skip=SKIP)
        tile = page.locator(".tile", has_text="soon")
        tile.locator(".chip", has_text="black").wait_for(timeout=60_000)
        shown = time.time()
        (defect,) = [d for d in admin.monitors()[0]["defects"] if d["kind"] == "black"]
    least = 1.0 + 0.5  # seconds: the segment comes whole, and black lasts before it is one
    assert shown - defect["start"] < 3.0 + least


@pytest.mark.slow
def test_who_has_the_focus_keeps_it_while_tiles_move(page, service, admin, programme):
    """A stream that fails moves to the front, and its tile is never let go of."""
    folder, lengths = programme
    enter(page, service)
    with origin.live_hls(folder, lengths) as live:
        admin.watch("udp://127.0.0.1:9", "a dead one")
        admin.watch(live.url, "b lives", skip=SKIP)
        tile = page.locator(".tile", has_text="b lives")
        page.locator(".tile[data-state=watching]").wait_for(timeout=90_000)
        page.locator("#streams li:nth-child(2)", has_text="b lives").wait_for()
        tile.focus()
        tile.evaluate("e => { window.lost = 0; e.addEventListener('blur', () => window.lost++); }")
        live.down = True
        page.locator("#streams li:nth-child(1)", has_text="b lives").wait_for(timeout=60_000)
        assert tile.evaluate("e => e === document.activeElement")
        assert page.evaluate("window.lost") == 0
        # a stream that is out is not one with defects as well
        page.locator("#counts", has_text="2 streams, 0 with defects, 2 out").wait_for()
        assert page.title() == "(2) Vidette"


def test_a_file_is_dropped_and_its_report_opened(page, service, tmp_path):
    path = tmp_path / "dark.mp4"
    frames = media.scene(2.0, 160, 96)
    frames = [np.full_like(f, 16) if 10 <= n < 40 else f for n, f in enumerate(frames)]
    media.write(path, frames, 0.1 * media.programme(2.0))
    enter(page, service)
    page.evaluate(
        """async (bytes) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "dark.mp4"));
            for (const kind of ["dragenter", "dragover", "drop"])
                window.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer }));
        }""",
        list(path.read_bytes()),
    )
    row = page.locator("#inspections li", has_text="dark.mp4")
    row.locator(".chip", has_text="black").wait_for(timeout=120_000)
    with page.expect_popup() as opened:
        row.get_by_role("link", name="report").click()
    report = opened.value
    report.wait_for_selector("html[data-ready]", timeout=60_000)
    assert report.locator(".card[data-kind=black], .card", has_text="black").count() >= 1
    # the report runs scripts, but not as this site: it cannot use the key
    assert report.evaluate("() => window.origin") == "null"
