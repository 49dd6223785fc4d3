"""The pages of the built site in Chromium: nothing is wider than the window, and the search finds Korean words."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[3]
TOO_WIDE = """() => {
  const root = document.documentElement, width = root.clientWidth;
  const found = root.scrollWidth > width ? [`the page is ${root.scrollWidth}`] : [];
  for (const each of document.querySelectorAll(".md-content :is(pre, pre > code, img, .md-typeset__scrollwrap)")) {
    const cut = each.scrollWidth > each.clientWidth + 1 && !(PHONE && each.matches(".md-typeset__scrollwrap"));
    if (cut || each.getBoundingClientRect().right > width + 1)
      found.push(`${each.tagName} ${each.textContent.trim().slice(0, 60)}`);
  }
  return found;
}"""
"""What is cut off. On a phone a table may scroll by itself."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--no-strict", "--site-dir", folder]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    subprocess.run(command, cwd=ROOT, env=environment, timeout=240, check=True)
    return folder


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium")
    if chromium is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is missing: install it, see .ci/run")
        pytest.skip("chromium is missing")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def address(site):
    """The site over HTTP: from the disk there is no search."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(("width", "phone"), [(1280, False), (390, True)])
def test_no_page_is_wider_than_the_window_and_no_code_or_drawing_is_cut(site, browser, width, phone):
    page = browser.new_page(viewport={"width": width, "height": 900})
    wrong = {}
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    for file in pages:
        page.goto(file.as_uri())
        if found := page.evaluate(TOO_WIDE.replace("PHONE", str(phone).lower())):
            wrong[str(file.relative_to(site))] = found
    page.close()
    assert wrong == {}


def test_the_search_finds_a_korean_word_by_its_beginning(address, browser):
    page = browser.new_page()
    page.goto(f"{address}/ko/index.html")
    page.locator("[data-md-component=search-query]").fill("프롬프")
    page.locator("[data-md-component=search-query]").press("End")
    page.locator(".md-search-result__item", has_text="개념").first.wait_for(timeout=30_000)
    page.close()


def test_each_page_leads_to_itself_in_the_other_language(site, browser):
    page = browser.new_page()
    page.goto((site / "quickstart.html").as_uri())
    assert page.locator(".md-select__link[hreflang=ko]").get_attribute("href") == "ko/quickstart.html"
    page.goto((site / "ko" / "quickstart.html").as_uri())
    assert page.locator("h1").inner_text().startswith("빠른 시작")
    assert page.locator(".md-select__link[hreflang=en]").get_attribute("href") == "../quickstart.html"
    page.close()
