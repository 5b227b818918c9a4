import math
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from smoothscan.detection.journal import Journal, Triggers
from smoothscan.errors import ScanFailedError, TimeBudgetError
from smoothscan.meter import Meter
from smoothscan.spaces import SPACES

ROWS = torch.arange(12.0).view(3, 4)


class Work:
    """Counts how often it is done, and takes ten passes each time."""

    def __init__(self, meter, rows=ROWS):
        self.meter, self.rows, self.times = meter, rows, 0

    def __call__(self):
        self.times += 1
        self.meter.passes += 10
        return {"parameters": self.rows}


def journal(folder=None, deadline=math.inf):
    return Journal(folder, Meter(), deadline)


def test_a_piece_is_done_once_and_recalled_by_another_process_of_the_same_scan(tmp_path):
    first = journal(tmp_path)
    work = Work(first.meter)
    piece = first.once("a", work)
    assert (piece.recalled, piece.passes, first.meter.passes) == (False, 10, 10)
    second = journal(tmp_path)
    again = second.once("a", work)
    assert (again.recalled, again.passes, second.meter.passes, work.times) == (True, 10, 10, 1)
    assert torch.equal(again["parameters"], ROWS)
    assert torch.equal(again.row("parameters", 1), ROWS[1])
    assert not second.once("b", work).recalled
    assert second.n_pieces == 2


@given(title=st.text(), other=st.text())
def test_titles_tell_pieces_apart(title, other):
    kept = journal()
    kept.once(title, Work(kept.meter))
    assert kept.once(other, Work(kept.meter)).recalled == (title == other)


@pytest.mark.parametrize("damage", [lambda data: data[:20], lambda data: b"", lambda data: b"\xff" * len(data)])
def test_a_file_that_is_not_whole_is_done_again(tmp_path, damage):
    kept = journal(tmp_path)
    work = Work(kept.meter)
    piece = kept.once("a", work)
    piece.path.write_bytes(damage(piece.path.read_bytes()))
    assert not journal(tmp_path).once("a", work).recalled
    assert work.times == 2
    assert torch.equal(journal(tmp_path).once("a", work)["parameters"], ROWS)


def test_work_that_is_stopped_leaves_nothing(tmp_path):
    kept = journal(tmp_path)

    def stopped():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept.once("a", stopped)
    assert list(tmp_path.iterdir()) == []


def test_no_piece_begins_that_may_not_end_in_time(tmp_path):
    kept = journal(tmp_path, time.monotonic() + 1)

    def slow():
        time.sleep(0.6)
        return {"parameters": ROWS}

    kept.once("a", slow)
    with pytest.raises(TimeBudgetError):
        kept.once("b", slow)
    assert kept.once("a", slow).recalled, "what is there costs no time"


def test_a_folder_that_cannot_be_written_to_is_an_error_with_its_reason(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ScanFailedError, match=r"cannot be stored in .*file.*: (Not a directory|File exists)") as caught:
        journal(tmp_path / "file").once("a", Work(Meter()))
    assert "--cache-dir" in caught.value.hint


def test_a_temporary_folder_lasts_as_long_as_its_triggers():
    triggers = Triggers[int](SPACES["l2"])

    def fill():
        kept = journal()
        triggers.keep(7, kept.once("a", Work(kept.meter)), 2)
        return kept.folder

    folder = fill()
    assert torch.equal(triggers[7].parameters, ROWS[2])
    assert torch.equal(triggers.parameters([7, 7]), ROWS[[2, 2]])
    assert list(triggers) == [7]
    triggers = None
    assert not folder.exists()
