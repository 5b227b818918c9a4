from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smoothscan.config import ScanConfig
from smoothscan.errors import ConfigError, ImagesError
from smoothscan.fleet.ledger import Entry
from smoothscan.fleet.plan import Digests, Order, Shard, plan, why_due
from smoothscan.publish import Provenance
from tests.stores import draw_images

from .stand import registered

NOW = 1_000_000.0
CONFIG = ScanConfig(uri="models:/signs/1", images=Path("images"))
ORDER = Order(CONFIG, {}, Provenance(), "sha256:a")


def entry(**changes: object) -> Entry:
    values = {
        "scan_id": "s",
        "name": "signs",
        "version": "1",
        "identity": "i" * 64,
        "config_digest": "sha256:a",
        "model_digest": "sha256:m",
        "state": "recorded",
        "finished_at": NOW - 10,
        "expires_at": NOW + 10,
        "status": "completed",
        "verdict": "clean",
        "unfinished": False,
        "summary": None,
        "write_back": None,
    }
    return Entry(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("known", "due"),
    [
        (None, "never scanned"),
        (entry(), ""),
        (entry(verdict="backdoored"), ""),
        (entry(status="refused", verdict=None), ""),
        (entry(status="unsupported", verdict=None), ""),
        (entry(verdict="inconclusive"), ""),
        (entry(identity="another"), "registered anew"),
        (entry(config_digest="sha256:b"), "settings changed"),
        (entry(expires_at=NOW), "expired"),
        (entry(status="failed", verdict=None), "failed before"),
        (entry(status="timed_out", verdict=None), "failed before"),
        (entry(unfinished=True), "unfinished"),
    ],
)
def test_why_a_version_is_due(known: Entry | None, due: str) -> None:
    assert why_due(registered(), ORDER, known, NOW) == due


def test_settings_that_cannot_be_used_are_told_every_time() -> None:
    order = Order(CONFIG, {}, Provenance(), "", ConfigError("no"))
    assert why_due(registered(), order, entry(config_digest=""), NOW) == "settings cannot be used"


def test_what_is_due_comes_first_then_what_is_promoted_then_what_is_new() -> None:
    versions = [
        registered("kept", aliases=("champion",)),
        registered("old", created=1.0),
        registered("new", created=2.0),
        registered("promoted", created=0.0, aliases=("champion",)),
    ]
    known = {("kept", "1"): entry(name="kept")}
    planned = plan(versions, known, lambda _version: ORDER, now=NOW)
    assert [each.version.name for each in planned] == ["promoted", "new", "old", "kept"]
    assert [bool(each.due) for each in planned] == [True, True, True, False]
    assert all(each.due == "asked for" for each in plan(versions, known, lambda _v: ORDER, rescan=True, now=NOW))


@given(st.lists(st.tuples(st.text(min_size=1), st.integers(1, 99)), unique=True), st.integers(1, 7))
def test_every_version_is_in_exactly_one_part(versions: list[tuple[str, int]], count: int) -> None:
    for name, number in versions:
        version = registered(name, str(number))
        assert sum(Shard(index=index, count=count).has(version) for index in range(count)) == 1


def test_parts_are_about_equally_large() -> None:
    sizes = [sum(Shard(index=i, count=4).has(registered("signs", str(v))) for v in range(1000)) for i in range(4)]
    assert min(sizes) > 200


def test_versions_share_the_reading_of_images_and_a_change_of_them_counts(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"images": draw_images(tmp_path / "images", count=2)})
    asked = []

    def denoiser(each: ScanConfig) -> None:
        asked.append(each)

    digests = Digests(denoiser)
    first = digests.of(config)
    assert digests.of(config.model_copy(update={"uri": "models:/signs/2"})) == first
    assert len(asked) == 1
    assert digests.of(config.model_copy(update={"seed": 1})) != first
    (config.images / "image_00.png").unlink()
    assert Digests(denoiser).of(config) != first


def test_what_is_wrong_with_settings_is_remembered(tmp_path: Path) -> None:
    digests = Digests(lambda _config: None)
    for _ in range(2):
        with pytest.raises(ImagesError):
            digests.of(CONFIG.model_copy(update={"images": tmp_path / "nowhere"}))
