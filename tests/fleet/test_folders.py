from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smoothscan.errors import OutputError
from smoothscan.fleet.folders import PAGE, POSTURE, WORK, folder_of, sweep_folder

NAMES = st.one_of(
    st.text(min_size=1), st.sampled_from(["..", ".", POSTURE, PAGE, WORK, "a/b", "/etc", "a\0b", "x" * 300, "\udcff"])
)


@given(NAMES, NAMES)
def test_whatever_a_model_is_called_its_folder_lies_below_the_sweep_and_is_its_own(one: str, other: str) -> None:
    folder = folder_of(one, "3")
    assert len(folder.parts) == 2
    assert not set(folder.parts) & {"..", ".", "", POSTURE, PAGE, WORK}
    assert not folder.is_absolute()
    assert len(folder.parts[0].encode()) <= 255
    assert (folder == folder_of(other, "3")) == (one == other)


def test_usual_names_stay_readable() -> None:
    assert folder_of("traffic-signs v2", "12") == Path("traffic-signs v2/12")
    assert folder_of("..", "1") == Path("%2E./1")


def test_a_folder_belongs_to_one_sweep_at_a_time(tmp_path: Path) -> None:
    with (
        sweep_folder(tmp_path / "out"),
        pytest.raises(OutputError, match="Another sweep"),
        sweep_folder(tmp_path / "out"),
    ):
        pass
    with sweep_folder(tmp_path):
        pass
