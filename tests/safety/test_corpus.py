from __future__ import annotations

from pathlib import Path

import pytest

from smoothscan.safety.inspection import Account, Inspection

from .corpus import Fixture, hostile, ordinary

CORPUS = (*hostile(), *ordinary())


def account_of(fixture: Fixture, folder: Path) -> Account:
    path = folder / fixture.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(fixture.make())
    return Inspection().account(folder, fixture.file)


@pytest.mark.parametrize("fixture", CORPUS, ids=lambda fixture: fixture.name)
def test_every_file_is_judged_as_it_deserves(fixture: Fixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    account = account_of(fixture, tmp_path)
    if fixture.expected == "dangerous":
        assert account.dangerous
    else:
        assert account.dangerous == []
        assert bool(account.code) == (fixture.expected == "code")
        assert account.understood == (fixture.expected != "unexamined")
        assert account.failures == []
    assert not (tmp_path / "exploded").exists()
    assert all(len(finding) < 600 for finding in account.dangerous)
