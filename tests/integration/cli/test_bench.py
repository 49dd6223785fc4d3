import json
import os
import sys
import threading

import pytest

QUICK = ["--duration", "0.4", "--warmup", "0.1"]


def test_a_closed_loop_writes_figures_a_table_and_a_plot(run, target, tmp_path):
    pytest.importorskip("matplotlib")
    figures, plot = tmp_path / "그림.json", tmp_path / "그림.png"
    done = run(
        "bench", "--target", target, *QUICK, "--concurrency", "1,3", "--batch", "4", "--save", figures, "--plot", plot
    )
    assert done.status == 0, done.err
    assert "3 callers" in done.out
    record = json.loads(figures.read_text())
    assert [entry["load"] for entry in record["runs"]] == [1, 3]
    for entry in record["runs"]:
        assert entry["mode"] == "closed"
        assert entry["failed"] == {}
        assert entry["versions"] == {"1": entry["calls"]}
        assert entry["texts_per_second"] == pytest.approx(4 * entry["calls_per_second"])
        latency = entry["latency_ms"]
        assert latency["p50"] <= latency["p95"] <= latency["p99"] <= latency["p99.9"] <= latency["max"]
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_an_open_loop_over_a_file(run, target, tmp_path):
    corpus = tmp_path / "말뭉치.txt"
    corpus.write_text("하나\n둘\n셋\n")
    done = run("bench", "--target", target, *QUICK, "--rate", "40", "--file", corpus, "--json")
    record = done.json()
    assert record["texts"] == 3
    assert record["runs"][0]["mode"] == "open"
    assert record["runs"][0]["calls"] > 0


def test_refused_calls_are_counted_by_reason(run, target):
    found = run("bench", "--target", target, *QUICK, "--batch", "2000", "--concurrency", "1", "--json").json()
    assert set(found["runs"][0]["failed"]) == {"TOO_MANY_TEXTS"}


@pytest.mark.parametrize(
    "wrong",
    [["--rate", "0"], ["--rate", "fast"], ["--concurrency", "1.5"], ["--concurrency", "1,,2"], ["--batch", "0"]],
)
def test_loads_that_cannot_be_are_wrong_usage(run, target, wrong):
    assert run("bench", "--target", target, *wrong).status == 2


def test_a_wrong_option_ends_it_before_the_load(run, target):
    done = run("bench", "--target", target, "--version", "77")
    assert done.status == 1
    assert "77" in done.err


def test_a_plot_without_matplotlib_is_refused_before_the_load(run, target, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = run("bench", "--target", target, "--plot", tmp_path / "x.png")
    assert done.status == 1
    assert "pip install matplotlib" in done.err


def test_figures_that_could_not_be_written_are_refused_before_the_load(run, target, tmp_path):
    done = run("bench", "--target", target, "--save", tmp_path / "없음" / "x.json")
    assert done.status == 1
    assert "there is no folder" in done.err


def test_figures_follow_a_link_and_go_into_a_pipe(run, target, tmp_path):
    real, link, pipe, read = tmp_path / "real.json", tmp_path / "link.json", tmp_path / "pipe", []
    real.write_text("old")
    link.symlink_to(real)
    assert run("bench", "--target", target, *QUICK, "--concurrency", "1", "--save", link).status == 0
    assert link.is_symlink()
    assert json.loads(real.read_text())["runs"]
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    assert run("bench", "--target", target, *QUICK, "--concurrency", "1", "--save", pipe).status == 0
    reader.join(30)
    assert json.loads(read[0])["runs"]
    assert pipe.is_fifo()


def test_it_says_what_it_sends_and_mixes_in_no_long_texts_unasked(run, target, tmp_path):
    quick = ["bench", "--target", target, "--duration", "0.2", "--warmup", "0", "--concurrency", "1"]
    done = run(*quick, "--json")
    assert "built-in Korean texts" in done.err
    assert done.json()["mean_characters"] < 100
    corpus = tmp_path / "말뭉치.txt"
    corpus.write_text("하나\n둘\n")
    assert f"sends the 2 lines of {corpus}, 2 characters in the middle" in " ".join(
        run(*quick, "-f", corpus).err.split()
    )
