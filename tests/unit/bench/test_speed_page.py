import json

from tests.bench.speed import page
from tests.bench.speed.page_sections import figure, number, table
from tests.bench.speed.stats import summary

MACHINE = {
    "processor": "a processor",
    "cores": 2,
    "memory_gib": 24,
    "device": "none",
    "python": "3.11",
    "versions": {"torch": "2.13.0"},
    "commit": "abc1234",
    "measured_at": "2026-01-01T00:00:00+00:00",
    "load_at_start": 0.1,
    "texts": "KorSTS",
    "quick": False,
}


def section(**found):
    return found | {"machine": MACHINE, "took_seconds": 3.0}


def served():
    def row(rate):
        names = ("p50", "p95", "p99", "client_cpu_ms", "failed")
        return {name: summary([1.0, 2.0]) for name in names} | {
            "texts_per_second": summary([rate]),
            "munjang_is_times": 300 / rate,
        }

    bulk = {"texts_per_second": summary([310.0]), "munjang_is_times": 0.97}
    servers = {"munjang": row(300.0), "Infinity, torch": row(60.0), "munjang in process": bulk}
    cases = [{"callers": callers, "batch": 1, "servers": servers} for callers in (1, 64)]
    return section(cases=cases, cosine={"munjang": 0.99998}, missing={"mosec": "pip | failed"})


def test_a_figure_shows_its_spread_where_there_were_several_rounds():
    assert figure(summary([1234.0])) == "1,234"
    assert figure(summary([1.0, 3.0, 2.0])) == "2 [1–3]"
    assert number(0.012345) == "0.0123"


def test_a_table_is_markdown():
    assert table(("a", "b"), [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_the_page_has_the_servers_the_ratios_the_machine_and_what_is_missing(tmp_path):
    page.write({"served": served()}, tmp_path)
    text = (tmp_path / "benchmarks.md").read_text()
    assert "| Infinity, torch | 60 | 5.00 | 1.5 [1–2] |" in text
    assert "| munjang in process | 310 | 0.97 | – |" in text
    assert "a processor, 2 cores" in text
    assert "commit abc1234" in text
    assert "- Not measured: mosec: pip / failed" in text
    assert "![speed-served.svg](bench/speed-served.svg)" in text
    assert (tmp_path / "bench" / "speed-served.svg").stat().st_size > 1000
    assert json.loads((tmp_path / "bench" / "speed.json").read_text())["served"]["took_seconds"] == 3.0


def test_a_section_that_failed_says_why_and_leaves_the_others(tmp_path):
    wire = section(
        shape=[256, 768],
        milliseconds={"packed bytes": summary([0.1])},
        times_faster=40.0,
        bit_exact={"packed bytes": True},
    )
    page.write({"served": section(failed="OSError: no port"), "wire": wire}, tmp_path)
    text = (tmp_path / "benchmarks.md").read_text()
    assert "Could not be measured: OSError: no port" in text
    assert "packed bytes are 40 × faster" in text


def test_a_file_is_held_against_the_encoder_on_the_same_blocks(tmp_path):
    rates = {"rows_per_second": 300.0, "in_blocks_per_second": 320.0, "in_process_per_second": 380.0}
    shares = {"share_of_blocks": 0.94, "share_of_in_process": 0.79}
    seconds = {"seconds": summary([13.0, 14.0, 13.5]), "seconds_beside_shards": summary([0.05])}
    found = {name: summary([rate]) for name, rate in rates.items()} | shares | seconds
    page.write({"bulk": section(rows=4000, block_rows=1024, **found)}, tmp_path)
    text = (tmp_path / "benchmarks.md").read_text()
    assert "in 13.5 [13–14] s, of which 0.05 s before" in text
    assert "94% of our encoder's speed in process on the blocks" in text
    assert "| our encoder in process, blocks of 1,024 texts | 320 |" in text


def test_a_quick_run_is_called_one(tmp_path):
    found = section(skipped="No CUDA device here.")
    page.write({"gpu": found | {"machine": MACHINE | {"quick": True}}}, tmp_path)
    assert "**A quick run" in (tmp_path / "benchmarks.md").read_text()


def test_a_decoder_is_held_against_torch_in_bfloat16_and_promised(tmp_path):
    rates = {
        name: summary([rate]) | {"times_torch": rate / 4, "worst_cosine": 0.99997}
        for name, rate in (("munjang, torch bfloat16", 4.0), ("munjang, OpenVINO bfloat16", 10.0))
    }
    page.write({"decoder": section(texts=128, tokens=21.5, rates=rates)}, tmp_path)
    text = (tmp_path / "benchmarks.md").read_text()
    assert "| munjang, OpenVINO bfloat16 | 10 | 2.50 | 0.99997 |" in text
    assert "× torch in bfloat16 | ≥ 2 | 2.5 | yes |" in text
