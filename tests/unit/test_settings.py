"""Settings come from the environment, once, and a wrong one is refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from munjang import settings
from munjang.settings import ClientSettings, EngineSettings, ServerSettings, Settings, TrainerSettings, WorkerSettings
from tools.settings_docs import PAGE, family, page

ROOT = Path(__file__).resolve().parents[2]
CLASSES = family(Settings)
FIELDS = [(kind, name) for kind in CLASSES for name in kind.model_fields if name in kind.__annotations__]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No MUNJANG_ variable of whoever runs the tests."""
    for name in FIELDS:
        monkeypatch.delenv(f"MUNJANG_{name[1].upper()}", raising=False)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_program_starts_without_any_setting(kind: type[Settings]) -> None:
    kind()


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_every_setting_says_what_it_does_in_a_sentence(kind: type[Settings], name: str) -> None:
    description = kind.model_fields[name].description or ""
    assert len(description) > 20
    assert description.endswith(".")


def test_a_variable_is_the_setting_in_capitals_after_munjang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUNJANG_PORT", "7000")
    monkeypatch.setenv("MUNJANG_KEEP_PREVIOUS", "false")
    monkeypatch.setenv("MUNJANG_REGISTRY", "s3://버킷/models")
    found = ServerSettings()
    assert (found.port, found.keep_previous, found.registry_url) == (7000, False, "s3://버킷/models")


def test_an_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUNJANG_PORT", "7000")
    assert ServerSettings(port=7001).port == 7001


def test_variables_of_other_programs_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUNJANG_SHARD_ROWS", "many")
    ServerSettings()


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (ServerSettings, "port", "65536"),
        (ServerSettings, "port", "-1"),
        (ServerSettings, "port", "오만"),
        (ServerSettings, "max_texts", "0"),
        (ServerSettings, "drain_seconds", "0"),
        (ServerSettings, "bulk_share", "1.5"),
        (EngineSettings, "threads", "-1"),
        (EngineSettings, "compute_type", "int4"),
        (Settings, "log_level", "loud"),
        (ClientSettings, "timeout", "-3"),
        (WorkerSettings, "shard_rows", "0"),
        (WorkerSettings, "lease_seconds", "14"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, kind: type[Settings], name: str, value: str
) -> None:
    monkeypatch.setenv(f"MUNJANG_{name.upper()}", value)
    with pytest.raises(ValidationError, match=name):
        kind()


def test_settings_do_not_change_after_the_start() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ServerSettings().port = 1  # type: ignore[misc]


def test_everything_lives_under_home_until_told_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MUNJANG_HOME", str(tmp_path))
    found = TrainerSettings()
    assert Path(found.registry_url).parent == tmp_path
    assert found.cache_folder.parent == tmp_path
    assert found.runs_folder.parent == tmp_path


def test_a_tilde_is_the_users_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings().home == tmp_path / ".munjang"
    assert Settings(home=Path("~/문장")).home == tmp_path / "문장"
    assert Settings(cache="~/cache").cache_folder == tmp_path / "cache"


def test_nothing_else_reads_the_environment() -> None:
    reading = re.compile(r"\bgetenv\b|\benviron(\.get|\[)")
    sources = (
        path for package in ("munjang", "server", "worker", "trainer") for path in ROOT.glob(f"{package}/**/*.py")
    )
    readers = {path for path in sources if reading.search(path.read_text(encoding="utf-8"))}
    assert not {path for path in readers if not str(path).startswith(str(ROOT / "munjang" / "settings"))}


def test_the_page_about_settings_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs`"


def test_the_page_names_every_setting() -> None:
    text = page()
    assert all(f"`MUNJANG_{name.upper()}`" in text for _, name in FIELDS)


def test_every_class_of_settings_is_in_the_module() -> None:
    assert all(getattr(settings, kind.__name__) is kind for kind in CLASSES)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MUNJANG_REGISTY", "MUNJANG_REGISTRY"),
        ("MUNJANG_REDISURL", "MUNJANG_REDIS_URL"),
        ("munjang_batch_token", "MUNJANG_BATCH_TOKENS"),
        ("MUNJANG_TARGETS", "MUNJANG_TARGET"),
        ("MUNJANG_QQ", ""),
    ],
)
def test_a_variable_that_is_no_setting_is_named_with_the_likely_one(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    monkeypatch.setenv(name, "1")
    [line] = [line for line in settings.unknown_variables() if line.startswith(name)]
    assert line.endswith(f"did you mean {meant}?" if meant else "has no effect")


def test_every_setting_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for _, name in FIELDS:
        monkeypatch.setenv(f"MUNJANG_{name.upper()}", "1")
    known = {f"MUNJANG_{name.upper()}" for _, name in FIELDS}
    assert not known & {line.split()[0] for line in settings.unknown_variables()}
