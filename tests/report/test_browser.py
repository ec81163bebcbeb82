"""The report in a real headless Chromium, with the network off."""

from __future__ import annotations

import json

import pytest

from pipeline.report import render, write_report
from pipeline.types import Asset, Coverage, Defect, Inspection, Kind, Problem, Timelines, VideoTrack
from tests import report_media

pytestmark = pytest.mark.browser
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    asset = report_media.damaged(folder / "damaged.mp4")
    write_report(report_media.truth(asset), folder / "report.html", str(asset))
    return folder / "report.html"


@pytest.fixture
def visit(chromium):
    """Opens reports offline; at the end, the console must have been silent and nothing fetched."""
    said, asked, contexts = [], [], []

    def open_page(path, viewport=WIDE, **options):
        context = chromium.new_context(viewport=viewport, offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("request", lambda request: asked.append(request.url[:100]))
        page.goto(path.resolve().as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def ready(page):
    page.wait_for_selector("html[data-ready]", timeout=60_000)
    return page


def view(page):
    """The seconds that the charts show, after they have been drawn."""
    return [float(edge) for edge in page.get_attribute("html", "data-drawn").split()]


def defects(page):
    return json.loads(page.inner_text("#inspection") or page.text_content("#inspection"))["defects"]


def bar(page, number):
    """The middle of a defect's bar in the lanes, in page coordinates."""
    box = page.locator("#lanes .barlayer .point path").nth(number).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_click_in_the_timeline_leads_to_the_card(visit, report):
    page = ready(visit(report))
    all_defects = defects(page)
    black = next(n for n, d in enumerate(all_defects) if d["kind"] == Kind.BLACK)
    page.mouse.move(*bar(page, black))
    hover = page.wait_for_selector("#lanes .hoverlayer .hovertext")
    assert "Black picture" in hover.text_content()
    assert "99.8 % of the picture is black" in hover.text_content()
    page.mouse.click(*bar(page, black))
    card = page.locator(".card.selected")
    assert card.count() == 1
    assert card.get_attribute("data-id") == all_defects[black]["id"]
    page.wait_for_function("document.activeElement.classList.contains('card')")
    page.wait_for_function(
        "() => { const top = document.querySelector('.card.selected').getBoundingClientRect().top;"
        " return top >= 0 && top < innerHeight / 2 }"
    )


def test_click_in_the_list_and_keyboard(visit, report):
    page = ready(visit(report))
    page.locator("#list a").nth(3).click()
    identity = page.locator("#list li").nth(3).get_attribute("data-id")
    assert page.locator(".card.selected").get_attribute("data-id") == identity
    page.locator("#list a").nth(4).focus()
    page.keyboard.press("Enter")
    identity = page.locator("#list li").nth(4).get_attribute("data-id")
    assert page.locator(".card.selected").get_attribute("data-id") == identity
    assert page.url.endswith("#d5")
    page.locator(".card.selected .zoom-to").click()
    found = next(d for d in defects(page) if d["id"] == identity)
    page.wait_for_function("document.documentElement.dataset.drawn.split(' ')[0] > 0.1")
    low, high = view(page)
    assert low < found["start"] < found["end"] < high < low + 5
    page.keyboard.press("0")
    page.wait_for_function("document.documentElement.dataset.drawn.startsWith('0.000 10.0')")


def test_zoom_is_shared_by_all_charts(visit, report):
    page = ready(visit(report))
    assert view(page)[1] - view(page)[0] == pytest.approx(10, abs=0.1)
    page.click("[data-do=in]")
    page.wait_for_function("!document.documentElement.dataset.drawn.startsWith('0.000')")
    assert view(page)[1] - view(page)[0] == pytest.approx(5, abs=0.1)
    page.click("[data-do=all]")
    page.wait_for_function("document.documentElement.dataset.drawn.startsWith('0.000')")
    area = page.locator("#series .nsewdrag").first.bounding_box()
    y = area["y"] + area["height"] / 2
    page.mouse.move(area["x"] + area["width"] * 0.4, y)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] * 0.5, y, steps=5)
    page.mouse.move(area["x"] + area["width"] * 0.6, y, steps=5)
    page.mouse.up()
    page.wait_for_function("!document.documentElement.dataset.drawn.startsWith('0.000')")
    low, high = view(page)
    assert (low, high) == pytest.approx((4, 6), abs=0.2)
    for chart in ("lanes", "series"):
        shown = page.evaluate(f"document.getElementById('{chart}').layout.xaxis.range")
        assert shown == pytest.approx([low, high], abs=0.01)
    page.mouse.move(area["x"] + area["width"] * 0.5, y)
    page.wait_for_function("document.getElementById('readout').textContent.includes('luma')")


def test_filters(visit, report):
    page = ready(visit(report))
    bars = page.locator("#lanes .barlayer .point path")
    assert bars.count() == page.locator(".card:visible").count() == 8
    page.locator("[name=severity][value=subtle]").uncheck()
    page.wait_for_function("document.querySelectorAll('#lanes .barlayer .point path').length === 5")
    assert page.locator(".card:visible").count() == page.locator("#list li:visible").count() == 5
    assert page.inner_text("#shown-count") == "5 of 8 shown"
    page.locator("[name=kind][value=black]").uncheck()
    assert page.locator(".card:visible").count() == 4
    page.click("#reset")
    assert page.locator(".card:visible").count() == 8
    page.select_option("#order", "severity")
    assert page.locator(".card h3").first.inner_text() == "Clipping"


def test_pictures_are_really_there(visit, report):
    page = ready(visit(report))
    sizes = page.evaluate(
        "async () => { const images = [...document.querySelectorAll('.card img')];"
        " for (const image of images) { image.loading = 'eager'; await image.decode(); }"
        " return images.map((image) => [image.naturalWidth, image.naturalHeight]) }"
    )
    assert len(sizes) == 3 * 3 + 1 + 1  # three with their neighbours, noise, a spectrogram
    assert all(min(size) > 50 for size in sizes)
    frame, region = (
        page.locator(".card .frame:has(.region) img").bounding_box(),
        page.locator(".card .region").bounding_box(),
    )
    assert (region["x"] - frame["x"]) / frame["width"] == pytest.approx(0.25, abs=0.01)
    assert region["height"] / frame["height"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["desktop", "phone"])
def test_nothing_is_wider_than_the_screen(visit, report, viewport, scheme):
    touch = viewport is NARROW
    page = ready(visit(report, viewport, color_scheme=scheme, has_touch=touch, is_mobile=touch))
    page.evaluate("document.querySelectorAll('details').forEach((d) => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    wide = page.evaluate(
        "[...document.querySelectorAll('main *')].filter((e) => e.closest('svg') === null"
        " && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.className)"
    )
    assert wide == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(visit, report, scheme):
    """WCAG 2.2, 1.4.3: 4.5 to 1 for text; measured on the colours that the page really uses."""
    page = ready(visit(report, color_scheme=scheme))
    page.locator("#list a").first.click()
    ratios = page.evaluate(
        """() => {
          const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
          const light = (c) => { const [r, g, b] = c.slice(0, 3).map((v) => { v /= 255;
            return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
          const ground = (e) => { for (; e; e = e.parentElement) {
            const c = rgb(getComputedStyle(e).backgroundColor);
            if (c.length === 3 || c[3] === 1) return c; } return [255, 255, 255]; };
          const low = [];
          for (const e of document.querySelectorAll('main *, .top *, .bottom')) {
            const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
            if (!own || e.disabled || e.closest('svg, .vh, script')) continue;
            const a = light(rgb(getComputedStyle(e).color)), b = light(ground(e));
            const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            if (ratio < 4.5) low.push(`${e.className || e.tagName} ${ratio.toFixed(2)}`);
          }
          return low;
        }"""
    )
    assert ratios == []


def test_result_can_be_downloaded(visit, report, tmp_path):
    page = ready(visit(report))
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(tmp_path / "result.json")
    assert download.value.suggested_filename == "damaged.vidette.json"
    result = Inspection.model_validate_json((tmp_path / "result.json").read_text("utf-8"))
    assert len(result.defects) == 8


def test_it_prints(visit, report):
    page = ready(visit(report, color_scheme="dark"))
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print", color_scheme="light")
    page.wait_for_function("document.getElementById('series').clientWidth >= 0")
    assert page.locator(".toolbar").is_hidden()
    assert page.locator(".card").first.is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf()[:5] == b"%PDF-"


def test_without_javascript_everything_can_be_read(visit, report):
    page = visit(report, java_script_enabled=False)
    assert page.locator(".card").count() == 8
    assert page.locator(".card").last.is_visible()
    assert page.get_by_text("need JavaScript").is_visible()


def test_a_page_without_charts_is_small_and_works(visit, tmp_path):
    """As an archive has it for each of its assets."""
    asset = report_media.damaged(tmp_path / "damaged.mp4")
    (tmp_path / "page.html").write_text(render(report_media.truth(asset), charts=False))
    assert (tmp_path / "page.html").stat().st_size < 300_000
    page = visit(tmp_path / "page.html")
    assert page.locator("#timeline").count() == 0
    assert page.locator(".card:visible").count() == 8
    page.locator("[name=severity][value=subtle]").uncheck()
    page.wait_for_function("document.querySelector('#shown-count').innerText === '5 of 8 shown'")
    page.locator("#list li:visible button, #list li:visible a").last.click()
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(tmp_path / "result.json")
    result = Inspection.model_validate_json((tmp_path / "result.json").read_text("utf-8"))
    assert (len(result.defects), result.timelines.series) == (8, {})


def test_scripts_in_names_do_no_harm(visit, tmp_path):
    evil = "</script><script>window.harmed=1</script><img src=x onerror='window.harmed=1'>"
    frozen = Defect(
        id="a", kind=Kind.FREEZE, start=1, end=2, peak=1, severity=1, confidence=1, stream=0,
        evidence={evil: 1.0}, summary=evil, detector=evil,
    )  # fmt: skip
    inspection = Inspection(
        uri=f"/films/{evil}.mp4",
        asset=Asset(duration=5, container=evil),
        coverage=Coverage(state="partial", problems=[Problem(reason=evil, detail=evil)]),
        defects=[frozen],
        timelines=Timelines(series={evil: [1.0] * 50}),
    )
    write_report(inspection, tmp_path / "report.html", str(tmp_path / "gone.mp4"))
    page = ready(visit(tmp_path / "report.html"))
    page.mouse.move(*bar(page, 0))
    page.wait_for_selector("#lanes .hoverlayer .hovertext")
    assert page.evaluate("window.harmed") is None
    assert page.locator("img[src=x]").count() == 0
    assert evil in page.inner_text(".summary")


def test_reports_without_defects_and_without_an_asset(visit, tmp_path):
    clean = Inspection(
        uri="clean.mp4",
        asset=Asset(duration=5, video=[VideoTrack(stream=0, codec="h264", width=64, height=48)]),
        coverage=Coverage(state="complete", examined=[(0, 5)]),
        timelines=Timelines(series={"luma": [100.0] * 50}),
    )
    write_report(clean, tmp_path / "clean.html")
    page = ready(visit(tmp_path / "clean.html"))
    assert page.inner_text("h1") == "No defects found"
    assert page.locator("#series .trace").count() == 1
    problem = Problem(reason="not_found", detail="there is no file gone.mp4")
    failed = Inspection(uri="gone.mp4", coverage=Coverage(state="none", problems=[problem]))
    write_report(failed, tmp_path / "failed.html")
    page = visit(tmp_path / "failed.html")
    assert page.inner_text("h1") == "This asset could not be examined"
    assert page.locator("#timeline").count() == 0


def test_eight_hours_stay_usable(visit, tmp_path):
    """288 000 values a series and 500 defects: drawn from at most a few thousand points."""
    seconds = 8 * 3600
    values = [float(n % 97) for n in range(seconds * 10)]
    values[123_456] = 250.0  # one value that stands out must survive the thinning
    kinds = list(Kind)[:24]
    found = [
        Defect(
            id=f"i{n}", kind=kinds[n % 24], start=n * 57.0, end=n * 57.0 + 0.04, peak=n * 57.0,
            severity=(n % 4 + 1) / 4, confidence=0.5, stream=0, evidence={"level_db": n},
            summary="seen", detector="x/1",
        )
        for n in range(500)
    ]  # fmt: skip
    long = Inspection(
        uri="long.mxf",
        asset=Asset(duration=seconds),
        coverage=Coverage(state="complete", examined=[(0, seconds)]),
        defects=found,
        timelines=Timelines(rate=10, series=dict.fromkeys(("luma", "motion", "level"), values)),
    )
    write_report(long, tmp_path / "long.html", str(tmp_path / "gone.mxf"))
    page = ready(visit(tmp_path / "long.html"))
    points = page.evaluate("document.getElementById('series').data.map((t) => t.x.length)")
    assert max(points) < 4000
    assert page.evaluate("Math.max(...document.getElementById('series').data[0].y)") == 250
    widths = page.evaluate(
        "[...document.querySelectorAll('#lanes .barlayer .point path')]"
        ".map((p) => p.getBoundingClientRect().width)"
    )
    assert len(widths) == 500
    assert min(widths) >= 3  # 40 ms in 8 h can still be seen and clicked
    page.locator("#list a").nth(400).click()
    for _ in range(6):
        page.click("[data-do=in]")
    page.wait_for_function(
        "(() => { const [a, b] = document.documentElement.dataset.drawn.split(' ');"
        " return b - a < 500 })()"
    )
    low, high = view(page)
    assert low < 400 * 57.0 < high
