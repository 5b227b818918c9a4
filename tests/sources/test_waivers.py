from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smoothscan.errors import ConfigError
from smoothscan.result import Waiver
from smoothscan.sources.waivers import read_waivers

DIGEST = "sha256:" + "0123456789abcdef" * 4
LINES = {
    "model_digest": f'"{DIGEST}"',
    "class": "3",
    "reason": '"every stop sign is red"',
    "owner": '"ann@example.org"',
    "expires": "2027-01-31",
}


def table(**changes: str | None) -> str:
    lines = {key: value for key, value in (LINES | changes).items() if value is not None}
    return "\n".join(["[[waiver]]", *(f"{key} = {value}" for key, value in lines.items()), ""])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "smoothscan-waivers.toml"


def test_what_is_written_is_read(path: Path) -> None:
    path.write_text(
        table()
        + table(rule='"class-pair"', source="7", expires="1999-12-31")
        + table(rule='"hard-step"', **{"class": None})
    )
    first, pair, steps = read_waivers(path)
    assert first == Waiver(
        model_digest=DIGEST,
        rule="target-class",
        index=3,
        reason="every stop sign is red",
        owner="ann@example.org",
        expires=date(2027, 1, 31),
    )
    assert (pair.rule, pair.index, pair.source, pair.expires) == ("class-pair", 3, 7, date(1999, 12, 31))
    assert (steps.rule, steps.index, steps.source) == ("hard-step", None, None)


def test_the_example_of_the_documentation_is_right(path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "gate.md"
    if not page.is_file():
        pytest.skip("needs the checkout")
    path.write_text(page.read_text().partition("```toml\n")[2].partition("```")[0])
    assert [waiver.rule for waiver in read_waivers(path)] == ["target-class", "hard-step"]


def test_a_file_may_hold_none(path: Path) -> None:
    path.write_text("# nothing is waived\n")
    assert read_waivers(path) == ()


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (table(reason=None), "waiver 1: reason is missing", "reason ="),
        (table(reason='"  "'), "reason has to be a text, and not an empty one", ""),
        (table(owner=None), "owner is missing", ""),
        (table(owner="1"), "owner has to be a text", ""),
        (table(expires=None), "expires is missing", "last day"),
        (table(expires='"2027-01-31"'), "expires has to be a day, not '2027-01-31'", "unquoted"),
        (table(expires="2027-01-31T12:00:00Z"), "expires has to be a day", "unquoted"),
        (table(expires="2027-02-31"), "cannot be read", ""),
        (table(model_digest=None), "model_digest is missing", ""),
        (table(model_digest='"sha256:abc"'), "'sha256:abc' is no model digest", "result.json"),
        (table(**{"class": None}), "class is missing for the rule target-class", "by class"),
        (table(**{"class": '"stop"'}), "class has to be the index of a class, not 'stop'", "start at 0"),
        (table(**{"class": "true"}), "not True", ""),
        (table(**{"class": "-1"}), "not -1", ""),
        (table(source="1"), "source is out of place for the rule target-class", ""),
        (table(rule='"class-pair"'), "source is missing for the rule class-pair", "source class"),
        (table(rule='"hard-step"'), "class is out of place for the rule hard-step", "as a whole"),
        (table(rule='"no-verdict"'), "'no-verdict' is no rule", "target-class"),
        (table(rule="[]"), "is no rule", ""),
        (table(resaon='"x"'), "unknown key: resaon", "did you mean reason?"),
        (table(zzz="1"), "unknown key: zzz", "known keys: model_digest"),
        (table() + table(reason='"again"'), "waiver 2 is about the same finding", "leave one"),
        (table().replace("[[waiver]]", "[waiver]"), "no list of tables", "[[waiver]]"),
        (table().replace("waiver", "waivers"), "unknown key: waivers", "did you mean waiver?"),
        ("waiver = [1]", "no list of tables", ""),
        ("= 1", "cannot be read", "[[waiver]]"),
    ],
)
def test_a_wrong_file_is_one_readable_message(path: Path, text: str, message: str, hint: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_waivers(path)
    assert message in caught.value.message
    assert str(path) in caught.value.message
    assert hint in caught.value.hint


def test_a_file_that_is_not_there_or_no_text(path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_waivers(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_waivers(path)


VALUES = st.one_of(
    st.sampled_from([*LINES.values(), '"hard-step"', '"class-pair"', "true", "1.5", "[1]", "{a = 1}", "12:00:00"]),
    st.integers(-3, 3).map(str),
)


@given(st.dictionaries(st.sampled_from([*LINES, "rule", "source", "clas"]), VALUES))
def test_whatever_stands_in_it_a_file_is_read_or_told_to_be_wrong(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[str, str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(table(**entries))
    try:
        (waiver,) = read_waivers(path)
    except ConfigError:
        return
    assert waiver.reason
    assert waiver.owner
