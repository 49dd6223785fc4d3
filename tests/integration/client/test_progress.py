import pytest

from munjang.client import InvalidText

TEXTS = [f"글 {number}" for number in range(25)]


def test_a_callback_hears_of_every_answer(client):
    heard = []
    client.encode(TEXTS, progress=lambda done, total: heard.append((done, total)))
    assert heard[0] == (10, 25)
    assert heard[-1] == (25, 25)
    assert len(heard) == 3
    assert heard == sorted(heard)


def test_progress_true_prints_a_line(client, capsys):
    client.encode(TEXTS, progress=True)
    printed = capsys.readouterr()
    assert printed.err.endswith("\rencoded 25 of 25 texts\n")
    assert not printed.out


def test_without_progress_nothing_is_printed(client, capsys):
    client.encode(TEXTS)
    assert not capsys.readouterr().err


def test_what_a_callback_raises_ends_the_call(client):
    def refuse(_done, _total):
        msg = "genug"
        raise ValueError(msg)

    with pytest.raises(ValueError, match="genug"):
        client.encode(TEXTS, progress=refuse)


def test_nothing_is_reported_before_the_texts_are_checked(client, capsys):
    with pytest.raises(InvalidText):
        client.encode([1], progress=True)
    assert not capsys.readouterr().err
