import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.client.requests import MAX_CALL_BYTES, Options, chunks, parts, whole
from munjang.errors import InvalidOption, InvalidText, MessageTooLarge
from munjang.kinds import Role
from munjang.v1 import resources_pb2


@given(st.lists(st.text(max_size=5), max_size=40), st.integers(1, 10))
def test_chunks_hold_every_text_once_in_order(texts, size):
    found = list(chunks(texts, size))
    assert [text for _, chunk in found for text in chunk] == texts
    assert all(0 < len(chunk) <= size for _, chunk in found)
    assert all(texts[start] == chunk[0] for start, chunk in found)


def test_a_call_stays_small_however_long_its_texts():
    texts = ["가" * 200_000] * 30
    for part in parts(texts, Options(), 256):
        assert sum(len(text.encode()) for text in part.texts) <= MAX_CALL_BYTES


def test_chunks_do_not_read_ahead():
    read = []

    def source():
        for number in range(10):
            read.append(number)
            yield str(number)

    next(chunks(source(), 3))
    assert read == [0, 1, 2, 3]


def test_a_batch_that_must_stay_whole_may_be_too_large():
    with pytest.raises(MessageTooLarge):
        whole(["가" * 200_000] * 30, Options())


def test_a_pinned_version_takes_the_place_of_the_alias():
    (part,) = parts(["글"], Options(version="stable"), 1)
    assert part.request(Options(version="stable"), 7).options.version == "7"
    assert part.request(Options(version="stable")).options.version == "stable"


def test_a_role_is_sent_by_its_name_and_a_prompt_only_where_it_is_given():
    plain, asked = Options().message(), Options(role=Role.DOCUMENT, prompt="").message()
    assert (plain.role, plain.HasField("prompt")) == (resources_pb2.ROLE_UNSPECIFIED, False)
    assert (asked.role, asked.HasField("prompt"), asked.prompt) == (resources_pb2.ROLE_DOCUMENT, True, "")
    assert Options(role="query").message().role == resources_pb2.ROLE_QUERY


@pytest.mark.parametrize(
    ("options", "error", "field"),
    [
        ({"role": "passage"}, InvalidOption, "options.role"),
        ({"prompt": "", "prompt_name": "query"}, InvalidOption, "options.prompt"),
        ({"prompt": "깨진 \ud83e"}, InvalidText, "options.prompt"),
        ({"prompt": 7}, InvalidText, "options.prompt"),
    ],
)
def test_roles_and_prompts_that_no_server_takes_are_refused_before_they_are_sent(options, error, field):
    with pytest.raises(error) as caught:
        Options(**options).message()
    assert caught.value.path == field
