import io

import numpy as np
from rich.cells import cell_len
from rich.console import Console

from munjang.cli.similarity import heat_map


def printed(texts, scores, *, terminal=False, width=160):
    console = Console(
        file=io.StringIO(), width=width, force_terminal=terminal, color_system="truecolor" if terminal else None
    )
    console.print(heat_map(texts, np.array(scores, np.float32), "제목", width))
    return console.file.getvalue()


def test_a_few_texts_are_a_matrix_of_numbers():
    lines = printed(["드럼", "[b]음악[/b]"], [[1, 0.25], [0.25, 1]]).splitlines()
    assert lines[2].split() == ["1", "드럼", "1.000", "0.250"]
    assert lines[3].split() == ["2", "[b]음악[/b]", "0.250", "1.000"]


def test_a_pipe_gets_no_colours_and_a_terminal_does():
    assert "\x1b[" not in printed(["가", "나"], [[1, 0.5], [0.5, 1]])
    assert "\x1b[" in printed(["가", "나"], [[1, 0.5], [0.5, 1]], terminal=True)


def test_one_text_alone_is_shown():
    assert "1.000" in printed(["혼자"], [[1]])


def test_many_texts_show_the_nearest_of_each_but_not_itself():
    count = 20
    scores = 1 - np.abs(np.arange(count)[:, None] - np.arange(count)) / count
    row = next(line for line in printed([f"글{i}" for i in range(count)], scores).splitlines() if "글0" in line)
    assert "0.950  글1" in row


def test_a_narrow_screen_gets_a_matrix_only_where_the_texts_have_room():
    scores = np.eye(7)
    narrow = printed([f"아주 긴 문장 {i} " * 5 for i in range(6)], scores[:6, :6], width=80)
    assert "nearest" not in narrow
    assert all(cell_len(line) <= 80 for line in narrow.splitlines())
    assert narrow.splitlines()[2].split()[-6:] == ["1.000", *["0.000"] * 5]
    assert "nearest" in printed([f"글{i}" for i in range(7)], scores, width=80)
