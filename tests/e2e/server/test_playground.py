"""The playground in a real browser, in Korean, on a real server: each thing that the page does.

After every test the page must have written no error to the console, and asked no other host for anything.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright.sync_api import expect, sync_playwright

from munjang.client import Client
from munjang.publishing import Lineage, publish_model
from munjang.registry import Registry
from munjang.testing_models import tiny_cross_encoder, tiny_model
from munjang_server.security.authentication import create_token
from tests.ports import free_port

AXE = Path(__file__).parents[2] / "interop/node_modules/axe-core/axe.min.js"
SENTENCES = ["한 남자가 기타를 친다.", "오늘은 비가 온다.", "금리가 동결되었다.", "<b>꺾쇠</b> & 'ㅋㅋ' 😀"]
QUESTION = "여권을 잃어버리면 어떻게 하나요?"
TABS = ("similarity", "ranking", "compare", "tokens", "live")
PROMPTS = {"query": "질문: ", "document": "문서: "}
LONG = "길고 긴 문장이 이어진다. " * 20


def there(found, what):
    """What a laptop may lack and CI may not."""
    if found:
        return found
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing: install it, see .ci/run")
    pytest.skip(f"{what} is missing")


@dataclass
class Server:
    """A server that runs, with a client of it."""

    origin: str
    target: str
    client: Client


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Two versions and a cross-encoder, behind stable, canary and rerank."""
    folder = tmp_path_factory.mktemp("playground")
    found = Registry(str(folder / "registry"))
    models = [tiny_model(folder / f"model-{seed}", seed=seed, prompts=PROMPTS) for seed in (0, 1)]
    for alias, model in zip(
        ("stable", "canary", "rerank"), [*models, tiny_cross_encoder(folder / "cross")], strict=True
    ):
        found.promote(alias, publish_model(found, model, Lineage(base_model=f"시험/{model.name}")).version, "test")
    return found


@pytest.fixture(scope="module")
def server(registry, start_shared_program):
    port, http_port = free_port(), free_port()
    program = start_shared_program(
        *("munjang_server", registry.url),
        port=port,
        http_port=http_port,
        metrics_port=0,
        aliases="stable,canary,rerank",
    )
    for version in (1, 2, 3):
        program.wait_for("version loaded", version=version)
    with Client(program.target) as client:
        client.wait_ready(240)
        yield Server(f"http://127.0.0.1:{http_port}", program.target, client)


@pytest.fixture(scope="module")
def browser():
    path = there(shutil.which("chromium"), "chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@dataclass
class Watched:
    """What a page did.

    Attributes:
        expected: a part of each error that a test provokes.
    """

    errors: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    expected: str = ""

    def follow(self, page):
        page.on("console", lambda message: message.type in {"error", "warning"} and self.errors.append(message.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))


@pytest.fixture
def watched():
    return Watched()


@pytest.fixture
def open_page(browser, watched):
    """Open a page of a server; at the end see that it did nothing that it should not."""
    contexts, origins = [], set()

    def start(origin, tab="similarity", *, width=1280, height=800, locale="ko-KR", scheme="light"):
        context = browser.new_context(
            viewport={"width": width, "height": height},
            locale=locale,
            color_scheme=scheme,
            permissions=["clipboard-read", "clipboard-write"],
        )
        contexts.append(context)
        origins.add(origin)
        page = context.new_page()
        page.set_default_timeout(30_000)
        watched.follow(page)
        page.goto(f"{origin}/#{tab}")
        return page

    yield start
    for context in contexts:
        context.close()
    assert [error for error in watched.errors if not (watched.expected and watched.expected in error)] == []
    assert {"{0.scheme}://{0.netloc}".format(urlsplit(url)) for url in watched.asked} <= origins


@pytest.fixture
def page(open_page, server):
    """The page, in Korean, with the answer to its samples."""
    opened = open_page(server.origin)
    expect(opened.locator("#similarity .facts")).to_be_visible()
    return opened


def ask(page, tab, texts, question=None, **versions):
    """Fill a form, send it, and wait for its answer."""
    page.click(f"#tab-{tab}")
    panel = page.locator(f"#{tab}")
    for name, version in versions.items():
        panel.locator(f"[name={name}]").select_option(version)
    if question is not None:
        panel.locator("[name=question]").fill(question)
    panel.locator("[name=texts]").fill("\n".join(texts))
    panel.locator(".answer").evaluate("node => node.replaceChildren()")  # so that what comes is the new answer
    panel.locator(".go").click()
    expect(panel.locator(".facts")).to_be_visible()
    return panel


def texts_of(places):
    return [each.strip() for each in places.all_text_contents()]


def facts(panel, index=0):
    found = panel.locator(".facts dl").nth(index)
    return dict(zip(texts_of(found.locator("dt")), texts_of(found.locator("dd")), strict=True))


def test_pasted_sentences_become_a_heat_map_of_the_models_scores(page, server):
    panel = ask(page, "similarity", ["", *SENTENCES, "  "])
    expected = server.client.similarity(SENTENCES).scores
    scores = [float(each.get_attribute("data-score")) for each in panel.locator("td[data-x]").all()]
    assert np.allclose(np.array(scores).reshape(4, 4), expected, atol=1e-6)
    shown = texts_of(panel.locator("td[data-x]"))
    assert shown == [f"{score:.2f}" for score in expected.ravel()]
    assert texts_of(panel.locator("tbody th .words")) == SENTENCES


def test_a_role_goes_with_the_sentences(page, server):
    page.locator("#similarity [name=role]").select_option("ROLE_QUERY")
    panel = ask(page, "similarity", SENTENCES)
    first = panel.locator("td[data-x='1'][data-y='0']").get_attribute("data-score")
    assert float(first) == pytest.approx(server.client.similarity(SENTENCES, query_role="query").scores[0, 1], abs=1e-6)


def test_the_colours_fit_the_scores_or_the_whole_range(page):
    panel = ask(page, "similarity", SENTENCES)
    cells = "nodes => nodes.map(each => [Number(each.dataset.score), Number(each.style.getPropertyValue('--v'))])"
    others = panel.locator("td[data-x]:not(.self)")
    fitted = sorted(others.evaluate_all(cells))
    assert (fitted[0][1], fitted[-1][1]) == (0, 1)
    assert fitted == sorted(fitted, key=lambda each: each[1])
    panel.locator("#full-range").check()
    assert all(value == pytest.approx(min(1, max(0, score)), abs=1e-3) for score, value in others.evaluate_all(cells))


def test_arrow_keys_move_over_the_map_and_show_both_sentences(page):
    panel = ask(page, "similarity", SENTENCES)
    panel.locator("td[data-x='1'][data-y='0']").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    detail = panel.locator("#pair")
    expect(detail).to_contain_text(SENTENCES[1])
    expect(detail).to_contain_text(SENTENCES[2])
    assert page.evaluate("document.activeElement.dataset.x + document.activeElement.dataset.y") == "21"


def test_documents_are_ranked_for_a_question(page, server):
    panel = ask(page, "ranking", SENTENCES, QUESTION)
    expected = server.client.similarity(
        *([QUESTION], SENTENCES), mode="top_k", top_k=4, query_role="query", candidate_role="document"
    )
    order = [SENTENCES[index] for index in expected.indices[0]]
    assert texts_of(panel.locator("li .words")) == order
    assert texts_of(panel.locator("li > .score")) == [f"{score:.3f}" for score in expected.scores[0]]


def test_a_cross_encoder_reranks_them(page, server):
    panel = ask(page, "ranking", SENTENCES, QUESTION, version="rerank")
    expected = server.client.rerank(QUESTION, SENTENCES)
    assert texts_of(panel.locator("li .words")) == [SENTENCES[each.index] for each in expected.results]
    assert facts(panel)["버전"] == "3"


def test_two_versions_show_what_changes_in_the_order(page, server):
    panel = ask(page, "compare", SENTENCES, QUESTION, version="stable", other="canary")
    orders = []
    for version in ("stable", "canary"):
        found = server.client.similarity(
            *([QUESTION], SENTENCES),
            mode="top_k",
            top_k=4,
            query_role="query",
            candidate_role="document",
            version=version,
        )
        orders.append(found.indices[0].tolist())
    for side, order in zip(("a", "b"), orders, strict=True):
        assert texts_of(panel.locator(f".side.{side} .words")) == [SENTENCES[index] for index in order]
    moves = [orders[0].index(index) - place for place, index in enumerate(orders[1])]
    assert any(moves), "models whose order is the same show nothing"
    expected = [f"▲ {by}" if by > 0 else f"▼ {-by}" if by < 0 else "–" for by in moves]
    assert texts_of(panel.locator(".side.b .moved")) == expected
    places = [orders[1].index(index) for index in orders[0]]
    swapped = sum(a > b for at, a in enumerate(places) for b in places[at + 1 :])
    expect(panel.locator(".verdict")).to_contain_text(f"6쌍 가운데 {swapped}쌍")
    expect(panel).to_contain_text("공간이 달라")
    assert [facts(panel, index)["버전"] for index in (0, 1)] == ["1", "2"]


def test_an_answer_says_its_version_space_time_tokens_and_what_was_cut(page, server):
    panel = ask(page, "similarity", [SENTENCES[0], LONG])
    found, shown = server.client.similarity([SENTENCES[0], LONG]), facts(panel)
    assert shown["버전"] == "1"
    assert shown["공간"] == server.client.version("stable").space_id[:8]
    assert re.fullmatch(r"[\d.,]+ ms", shown["왕복 시간"])
    assert shown["토큰"] == str(found.query_token_counts.sum())
    assert shown["잘림"] == "1개"


def test_texts_are_shown_as_the_pieces_that_the_model_reads_and_what_it_does_not(page, server):
    panel = ask(page, "tokens", ["비가 온다", LONG])
    assert texts_of(panel.locator("li").nth(0).locator(".piece"))[0] == "[CLS]"
    assert panel.locator("li").nth(0).locator(".lost").count() == 0
    expect(panel.locator("li").nth(0)).to_contain_text("/ 64")
    long = panel.locator("li").nth(1)
    read = int(server.client.encode([LONG]).token_counts[0])
    assert long.locator(".piece:not(.lost)").count() == read == 64
    expect(long.locator(".meter .tag")).to_have_text("잘림")


def shown_call(page, client):
    page.click(f"#call-{client}")
    return page.locator("#call code").inner_text()


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("tab", "version"), [("similarity", "canary"), ("ranking", "stable"), ("ranking", "rerank")])
def test_the_same_call_runs_as_it_is_shown(page, tab, version):
    question = QUESTION if tab == "ranking" else None
    panel = ask(page, tab, SENTENCES, question, version=version)
    number = facts(panel)["버전"]
    assert f'"version":{number}' in run("bash", "-c", shown_call(page, "curl")).replace(" ", "")
    said = run(sys.executable, "-c", shown_call(page, "python"))
    assert said.splitlines()[-1].split()[0] == number
    openai = run(sys.executable, "-c", shown_call(page, "openai"))
    if tab == "ranking":
        order = texts_of(panel.locator("li .words"))
        for printed in (openai, said):
            assert [line.split(" ", 1)[1] for line in printed.splitlines()[:4]] == order


def test_the_call_for_grpcurl_names_the_port_and_the_method_of_grpc(page, server):
    ask(page, "similarity", SENTENCES)
    shown = shown_call(page, "grpcurl")
    assert shown.startswith("grpcurl -plaintext -d '{")
    assert shown.endswith(f"{server.target} munjang.v1.EmbeddingService/Similarity")
    assert SENTENCES[0] in shown


def test_the_call_is_copied(page):
    shown = shown_call(page, "python")
    page.click("#copy")
    expect(page.locator("#copy")).to_have_text("복사했습니다")
    assert page.evaluate("navigator.clipboard.readText()") == shown


def test_the_live_view_shows_versions_aliases_and_the_load(page, server):
    page.click("#tab-live")
    panel = page.locator("#live")
    expect(panel.locator(".tile")).to_have_count(4)
    assert texts_of(panel.locator("tbody th"))[:3] == ["canary", "rerank", "stable"]
    for version in server.client.versions():
        expect(panel).to_contain_text(version.space_id[:8])
    expect(panel.locator(".bars li").first).to_be_visible()
    batches = int(panel.locator(".bars .value").first.inner_text())
    with page.expect_response(re.compile("metrics$")):
        server.client.encode(SENTENCES)
    expect(panel.locator("[data-tile=tokens] .figure")).not_to_have_text("0")
    expect(panel.locator(".bars .value").first).not_to_have_text(str(batches))


def test_the_live_view_asks_nothing_once_another_tab_is_open(page, watched):
    page.click("#tab-live")
    expect(page.locator("#live .tile")).to_have_count(4)
    page.clock.install()
    page.click("#tab-similarity")
    before = len(watched.asked)
    page.clock.run_for(6000)
    assert not [url for url in watched.asked[before:] if url.endswith("/metrics")]


def test_tabs_are_chosen_by_keys(page):
    page.focus("#tab-similarity")
    for tab in TABS[1:]:
        page.keyboard.press("ArrowRight")
        expect(page.locator(f"#{tab}")).to_be_visible()
    page.keyboard.press("Home")
    expect(page.locator("#similarity")).to_be_visible()


def test_a_form_is_sent_by_keys(page):
    page.locator("#similarity [name=texts]").fill("하나\n둘\n셋")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#similarity tbody tr")).to_have_count(3)


def test_the_language_is_the_browsers_and_can_be_changed_and_stays(open_page, server):
    page = open_page(server.origin, locale="en-GB")
    expect(page.locator("#tab-ranking")).to_have_text("Ranking")
    page.click("#language")
    expect(page.locator("#tab-ranking")).to_have_text("순위")
    page.reload()
    expect(page.locator("#tab-ranking")).to_have_text("순위")
    assert page.evaluate("document.documentElement.lang") == "ko"


def test_both_languages_have_the_same_words(page):
    same = page.evaluate("""async () => {
      const words = await import('/playground/words.js');
      const keys = [...document.querySelectorAll('[data-t]')].map(each => each.dataset.t);
      const missing = () => keys.filter(key => !words.t(key));
      const first = missing();
      words.switchLanguage();
      return [...first, ...missing()];
    }""")
    assert same == []


def test_the_theme_is_the_systems_and_can_be_changed_and_stays(open_page, server):
    page = open_page(server.origin, scheme="dark")
    lightness = "Number(getComputedStyle(document.documentElement).backgroundColor.match(/oklch\\(([\\d.]+)/)[1])"
    assert page.evaluate(lightness) < 0.3
    page.click("#theme")
    assert page.evaluate(lightness) > 0.9
    page.reload()
    assert page.evaluate(lightness) > 0.9


@pytest.mark.parametrize("tab", TABS)
def test_nothing_is_wider_than_a_phone(open_page, server, tab):
    page = open_page(server.origin, tab, width=390, height=844)
    expect(page.locator("#live .tile").first if tab == "live" else page.locator(f"#{tab} .facts")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page, server, scheme):
    axe = there(AXE.exists() and AXE.read_text("utf-8"), "axe-core")
    page = open_page(server.origin, scheme=scheme)
    page.evaluate(axe)
    for tab in TABS:
        page.click(f"#tab-{tab}")
        expect(page.locator("#live .tile").first if tab == "live" else page.locator(f"#{tab} .facts")).to_be_visible()
        found = page.evaluate("axe.run()")["violations"]
        serious = [each for each in found if each["impact"] in {"serious", "critical"}]
        assert [(each["id"], each["nodes"][0]["target"]) for each in serious] == [], tab


def test_empty_forms_say_what_to_enter(page):
    page.locator("#similarity [name=texts]").fill("한 줄뿐")
    page.locator("#similarity .go").click()
    expect(page.locator("#similarity .empty")).to_contain_text("두 줄 이상")
    page.click("#tab-ranking")
    page.locator("#ranking [name=question]").fill("")
    page.locator("#ranking .go").click()
    expect(page.locator("#ranking .empty")).to_contain_text("질문을 적어")
    page.locator("#ranking .sample").click()
    expect(page.locator("#ranking .facts")).to_be_visible()


def test_a_refusal_is_shown_in_words_with_what_the_server_said(page, watched):
    watched.expected = "400"
    page.locator("#similarity [name=texts]").fill("하나\n둘" + "가" * 200_000)
    page.locator("#similarity .go").click()
    refusal = page.locator("#similarity .refusal")
    expect(refusal).to_contain_text("입력을 고쳐야 합니다")
    expect(refusal.locator(".said")).not_to_be_empty()
    expect(refusal).to_contain_text("요청 번호")


def test_a_server_that_is_away_is_said_in_words_and_the_call_can_be_repeated(page, watched):
    watched.expected = "ERR_INTERNET_DISCONNECTED"
    page.context.set_offline(True)
    page.locator("#similarity .go").click()
    expect(page.locator("#similarity .refusal")).to_contain_text("서버에 닿지 않습니다")
    page.context.set_offline(False)
    page.locator("#similarity .refusal .quiet").click()
    expect(page.locator("#similarity .facts")).to_be_visible()


def test_a_server_with_tokens_gets_the_one_that_is_entered_and_nobody_else_does(
    registry, tmp_path, start_server, open_page, watched
):
    path, port = tmp_path / "tokens.toml", free_port()
    secret = create_token(path, "page", admin=False, texts_per_second=0, tokens_per_second=0)
    program = start_server(registry.url, http_port=port, tokens_file=path)
    with Client(program.target, token=secret) as client:
        client.wait_ready(240)
    watched.expected = "401"
    page = open_page(f"http://127.0.0.1:{port}")
    expect(page.locator("#similarity .refusal")).to_contain_text("토큰이 필요합니다")
    expect(page.locator("#state")).to_contain_text("토큰 필요")
    page.locator("#similarity .refusal .go").click()
    page.locator("#token-dialog input").fill(secret)
    page.keyboard.press("Enter")
    expect(page.locator("#similarity .facts")).to_be_visible()
    assert page.evaluate("JSON.stringify({...localStorage})").find(secret) < 0
    assert secret not in page.content()
    shown = shown_call(page, "curl")
    assert "Bearer $MUNJANG_TOKEN" in shown
    page.click("#token-open")
    page.locator("#token-dialog .quiet").click()
    expect(page.locator("#token-open")).to_have_text("토큰")
    assert page.evaluate("sessionStorage.length") == 0
