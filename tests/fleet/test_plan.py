from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smoothscan.config import ScanConfig
from smoothscan.errors import ConfigError, ImagesError
from smoothscan.fleet import plan as module
from smoothscan.fleet.ledger import Entry
from smoothscan.fleet.plan import Digests, Shard, plan, why_due
from tests.sinks.samples import photograph
from tests.stores import draw_images

from .stubs import DIGEST, order, version

NOW = 1_800_000_000.0
ONE = version()


def entry(name: str = "digits", number: str = "1", **changes: Any) -> Entry:
    values: dict[str, Any] = {
        "scan_id": f"scan of {name} {number}",
        "name": name,
        "version": number,
        "identity": f"{name} {number}",
        "config_digest": DIGEST,
        "model_digest": "sha256:model",
        "state": "recorded",
        "finished_at": NOW - 100,
        "expires_at": NOW + 100,
        "status": "completed",
        "verdict": "clean",
        "unfinished": False,
        "summary": None,
        "write_back": None,
    }
    return Entry(**(values | changes))


@pytest.mark.parametrize(
    ("known", "due"),
    [
        (None, "never scanned"),
        (entry(), ""),
        (entry(verdict="backdoored"), ""),
        (entry(verdict="inconclusive"), ""),
        (entry(status="refused", verdict=None), ""),
        (entry(status="unsupported", verdict=None), ""),
        (entry(state="judged"), ""),
        (entry(identity="another"), "registered anew"),
        (entry(config_digest="sha256:other"), "settings changed"),
        (entry(expires_at=NOW), "expired"),
        (entry(expires_at=NOW - 1), "expired"),
        (entry(expires_at=None), "expired"),
        (entry(status="failed", verdict=None), "failed before"),
        (entry(status="timed_out", verdict=None), "failed before"),
        (entry(unfinished=True), "unfinished"),
        (entry(unfinished=True, verdict="backdoored"), "unfinished"),
    ],
)
def test_why_a_version_is_due(known: Entry | None, due: str) -> None:
    assert why_due(ONE, order(ONE), known, NOW) == due


def test_a_version_whose_settings_are_wrong_is_due_each_time() -> None:
    wrong = order(ONE, problem=ConfigError("no images"))
    assert why_due(ONE, wrong, None, NOW) == "never scanned"
    assert why_due(ONE, wrong, entry(config_digest=""), NOW) == "settings cannot be used"


def test_what_is_due_comes_first_then_what_is_promoted_then_what_is_new() -> None:
    versions = [
        version("a", 1, created=1.0),
        version("a", 2, created=2.0),
        version("kept", 1, created=9.0, aliases=("champion",)),
        version("b", 1, created=3.0, aliases=("champion",)),
        version("b", 2, created=4.0, aliases=("challenger",)),
        version("c", 1, created=2.0),
        version("d", 1, created=0.5, stage="Production"),
        version("d", 2, created=0.6, stage="Archived"),
    ]
    known = {("kept", "1"): entry("kept")}
    planned = plan(versions, known, order, now=NOW)
    assert [(each.version.name, each.version.version) for each in planned] == [
        ("b", "2"), ("b", "1"), ("d", "1"), ("a", "2"), ("c", "1"), ("a", "1"), ("d", "2"), ("kept", "1"),
    ]  # fmt: skip
    assert [each.due for each in planned] == ["never scanned"] * 7 + [""]
    assert planned[-1].known == known["kept", "1"]
    assert planned[0].order.config.uri == "models:/b/2"
    assert {each.due for each in plan(versions, known, order, rescan=True, now=NOW)} == {"asked for"}


def test_the_present_is_now() -> None:
    known = {("digits", "1"): entry(expires_at=time.time() + 60)}
    assert plan([ONE], known, order)[0].due == ""
    assert plan([ONE], {("digits", "1"): entry(expires_at=time.time() - 1)}, order)[0].due == "expired"


NAMED = st.tuples(st.text(min_size=1), st.integers(1, 10**6))


@given(st.lists(NAMED, max_size=30), st.integers(1, 12))
def test_every_version_is_in_one_shard(named: list[tuple[str, int]], count: int) -> None:
    shards = [Shard(index=index, count=count) for index in range(count)]
    for each in named:
        assert sum(shard.has(version(*each)) for shard in shards) == 1


@given(NAMED, st.integers(1, 12))
def test_a_version_stays_in_its_shard_whatever_else_becomes_of_it(named: tuple[str, int], count: int) -> None:
    changed = version(*named, identity="registered anew", created=5.0, aliases=("champion",), stage="Production")
    for index in range(count):
        shard = Shard(index=index, count=count)
        assert shard.has(version(*named)) == shard.has(changed)


def test_shards_are_about_equal() -> None:
    versions = [version(f"model-{name}", number) for name in range(40) for number in range(1, 26)]
    sizes = Counter(index for index in range(4) for each in versions if Shard(index=index, count=4).has(each))
    assert sum(sizes.values()) == 1000
    assert all(200 < size < 300 for size in sizes.values())  # 3.6 standard deviations
    # Versions of one model are spread as well.
    assert {index for index in range(4) for each in versions[:25] if Shard(index=index, count=4).has(each)} == set(
        range(4)
    )
    assert str(Shard(index=1, count=4)) == "1/4"


class TestDigests:
    @pytest.fixture
    def reads(self, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        """Folders of images that were listed."""
        seen: list[Path] = []
        real = module.list_images

        def listed(folder: Path) -> tuple[Path, ...]:
            seen.append(folder)
            return real(folder)

        monkeypatch.setattr(module, "list_images", listed)
        return seen

    @pytest.fixture
    def config(self, tmp_path: Path) -> Callable[..., ScanConfig]:
        draw_images(tmp_path / "images", 2)

        def make(number: int = 1, **changes: Any) -> ScanConfig:
            return ScanConfig(uri=f"models:/digits/{number}", **{"images": tmp_path / "images", **changes})

        return make

    def test_models_with_the_same_settings_share_the_reading(
        self, config: Callable[..., ScanConfig], reads: list[Path]
    ) -> None:
        digests = Digests(lambda _: None)
        first = digests.of(config())
        assert first.startswith("sha256:")
        assert {digests.of(config(number)) for number in range(100)} == {first}
        assert len(reads) == 1
        assert digests.of(config(seed=1)) != first
        assert digests.of(config(labels=("a", "b"))) != first
        assert len(reads) == 3

    def test_it_is_the_digest_that_a_scan_has(self, config: Callable[..., ScanConfig]) -> None:
        from smoothscan.draft import Draft
        from smoothscan.result import ModelInfo
        from smoothscan.sources.images import images_digest, list_images

        draft = Draft(config(), ModelInfo(uri=""), images_digest(list_images(config().images)))
        assert Digests(lambda _: None).of(config()) == draft.config_digest()

    def test_what_a_scan_does_not_depend_on_is_not_in_it(self, config: Callable[..., ScanConfig]) -> None:
        digests = Digests(lambda _: None)
        more = {
            "output_dir": Path("x"),
            "threads": 3,
            "time_limit": 5.0,
            "write_back": False,
            "tracking_uri": "http://h",
        }
        assert digests.of(config(**more)) == digests.of(config())

    def test_other_images_are_another_scan(self, config: Callable[..., ScanConfig]) -> None:
        from PIL import Image

        before = Digests(lambda _: None).of(config())
        assert Digests(lambda _: None).of(config()) == before
        pixels = (photograph(1).transpose(1, 2, 0) * 255).astype("uint8")
        Image.fromarray(pixels).save(config().images / "image_00.png")
        after = Digests(lambda _: None).of(config())
        assert after != before
        (config().images / "image_00.png").rename(config().images / "another.png")
        assert Digests(lambda _: None).of(config()) not in (before, after)

    def test_a_problem_is_found_once_and_told_each_time(
        self, config: Callable[..., ScanConfig], reads: list[Path], tmp_path: Path
    ) -> None:
        digests = Digests(lambda _: None)
        for number in range(3):
            with pytest.raises(ImagesError, match="does not exist"):
                digests.of(config(number, images=tmp_path / "nowhere"))
        assert len(reads) == 1
        with pytest.raises(ConfigError, match="calibration"):
            digests.of(config(calibration=tmp_path / "none.json"))

    def test_the_denoiser_counts(self, config: Callable[..., ScanConfig], tmp_path: Path) -> None:
        from types import SimpleNamespace

        fetched: list[ScanConfig] = []

        def fetch(config: ScanConfig) -> Any:
            fetched.append(config)
            return SimpleNamespace(digest=f"digest of {len(fetched)}")

        one = Digests(fetch).of(config(denoiser="owner/name"))
        other = Digests(fetch).of(config(denoiser="owner/name"))
        assert one != other
        assert len(fetched) == 2
