"""Which deliveries count as the registry's."""

from __future__ import annotations

from typing import Any

import pytest
from mlflow.webhooks.delivery import _generate_hmac_signature

from smoothscan.serve.interface import Refused
from smoothscan.serve.signature import Stamp, read_stamp, sign, verify

from .deliveries import SECRET, delivery

NOW = 1_700_000_000.0
BODY = '{"name": "größe ✓"}'


def stamp_of(headers: dict[str, list[str]], tolerance: float = 300) -> Stamp:
    return read_stamp(lambda name: headers.get(name, []), now=NOW, tolerance=tolerance)


def headers(**changes: Any) -> dict[str, list[str]]:
    one = delivery(BODY.encode(), at=NOW)
    found = {name.lower(): [value] for name, value in one.headers.items()}
    return found | {f"x-mlflow-{name.replace('_', '-')}": value for name, value in changes.items()}


def test_the_signature_is_that_of_mlflow() -> None:
    theirs = _generate_hmac_signature(SECRET.decode(), "some-id", "1700000000", BODY)
    assert sign(SECRET, "some-id", "1700000000", BODY.encode()) == theirs
    verify(Stamp("some-id", "1700000000", theirs), BODY.encode(), SECRET)


@pytest.mark.parametrize(
    "changed",
    [
        {"delivery_id": "other-id"},
        {"timestamp": "1700000001"},
        {"signature": "v1,"},
        {"signature": ""},
        {"signature": "v1,ÿ\udcff"},
        {"body": b"{}"},
        {"secret": b"another secret of the tests"},
    ],
)
def test_whatever_is_changed_breaks_the_signature(changed: dict[str, Any]) -> None:
    words = {"delivery_id": "some-id", "timestamp": "1700000000", "body": BODY.encode(), "secret": SECRET}
    words["signature"] = sign(SECRET, "some-id", "1700000000", BODY.encode())
    words |= changed
    stamp = Stamp(words["delivery_id"], words["timestamp"], words["signature"])
    with pytest.raises(Refused) as caught:
        verify(stamp, words["body"], words["secret"])
    assert (caught.value.status, caught.value.outcome, caught.value.word) == (401, "forged", "signature")


def test_headers_of_a_delivery() -> None:
    assert stamp_of(headers(delivery_id=["a-1"], timestamp=["1700000300"])).delivery_id == "a-1"


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_clock_that_is_too_far_off(seconds: int) -> None:
    off = headers(timestamp=[str(int(NOW) + seconds)])
    with pytest.raises(Refused) as caught:
        stamp_of(off)
    assert (caught.value.status, caught.value.outcome) == (400, "late")
    stamp_of(off, tolerance=301)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"signature": []}, 401),  # a webhook that was registered without a secret
        ({"signature": ["v1,a", "v1,b"]}, 401),
        ({"timestamp": []}, 400),
        ({"timestamp": ["1700000000", "1700000000"]}, 400),
        ({"timestamp": ["1.7e9"]}, 400),
        ({"timestamp": ["-1700000000"]}, 400),
        (
            {"timestamp": ["\N{ARABIC-INDIC DIGIT ONE}" * 10]},
            400,
        ),  # digits to int(), but not the bytes that were signed
        ({"timestamp": ["9" * 5000]}, 400),
        ({"delivery_id": []}, 400),
        ({"delivery_id": [""]}, 400),
        ({"delivery_id": ["a.1"]}, 400),  # "a.1" + "2" would be signed like "a" + "1.2"
        ({"delivery_id": ["x" * 65]}, 400),
        ({"delivery_id": ["a\n"]}, 400),
    ],
)
def test_headers_that_are_not_mlflows(changes: dict[str, list[str]], status: int) -> None:
    with pytest.raises(Refused) as caught:
        stamp_of(headers(**changes))
    assert caught.value.status == status
