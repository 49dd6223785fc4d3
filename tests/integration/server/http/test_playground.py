"""The files of the playground, as a server serves them. What the page does is tested in a browser, in tests/e2e."""

from __future__ import annotations

import re

from munjang_server.security.authentication import TokenAuthenticator, create_token
from tests.ports import free_port


async def test_the_page_is_at_the_root_and_beside_it_everything_that_it_names(doors):
    _, http = doors
    page = await http.get("/")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    named = re.findall(r'(?:src|href)="(/[^"]+)"', page.text)
    modules = set()
    for path in named:
        reply = await http.get(path)
        assert reply.status_code == 200, path
        modules |= set(re.findall(r'from "\./([^"]+)"', reply.text))
    assert {"/playground/app.js", "/playground/style.css"} <= set(named)
    assert modules
    for name in modules:
        reply = await http.get(f"/playground/{name}")
        assert (reply.status_code, reply.headers["content-type"]) == (200, "text/javascript; charset=utf-8")


async def test_the_page_may_load_nothing_inline_or_from_elsewhere_and_be_in_no_frame(doors):
    _, http = doors
    page = await http.get("/")
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert not re.search(r"<script>|<style|\sstyle=|\son\w+=|https?://", page.text)


async def test_a_browser_that_has_a_file_does_not_get_it_again(doors):
    _, http = doors
    first = await http.get("/playground/app.js")
    again = await http.get("/playground/app.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_the_page_says_the_port_of_grpc_only_where_it_is_set(both_doors):
    async with both_doors() as (_, http):
        assert 'data-grpc-port=""' in (await http.get("/")).text
    port = free_port()
    async with both_doors(port=port) as (_, http):
        assert f'data-grpc-port="{port}"' in (await http.get("/")).text


async def test_the_files_need_no_token_as_the_calls_do(both_doors, tmp_path):
    file = tmp_path / "tokens.toml"
    create_token(file, "search", admin=False, texts_per_second=0, tokens_per_second=0)
    async with both_doors(authenticator=TokenAuthenticator(str(file)), tokens_file=str(file)) as (_, http):
        assert (await http.get("/")).status_code == 200
        assert (await http.get("/playground/app.js")).status_code == 200
        assert (await http.get("/metrics")).status_code == 401


async def test_without_the_setting_there_is_no_page_and_the_dialects_stay(both_doors, sentences):
    async with both_doors(playground=False) as (_, http):
        assert (await http.get("/")).status_code == 405  # TEI's POST stays
        assert (await http.get("/playground/app.js")).status_code == 404
        assert (await http.post("/", json={"inputs": sentences})).status_code == 200


async def test_what_is_not_part_of_the_page_is_not_served(doors):
    _, http = doors
    for path in ("/playground/", "/playground/nothing.js", "/playground/../routes.py", "/playground/%2e%2e/routes.py"):
        assert (await http.get(path)).status_code == 404, path
