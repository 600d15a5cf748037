"""Seeds are functions of what they are for."""

from lora_forge.seeds import stable_seed


def test_seeds_stay_what_they_are() -> None:
    # Pinned: a change would make every run of the past irreproducible.
    assert stable_seed(0) == 3696793467068528757
    assert stable_seed(0, "noise", 7) == 4462425700035595592


def test_parts_are_kept_apart() -> None:
    assert len({stable_seed(1, 2), stable_seed(12), stable_seed("1", 2), stable_seed(2, 1), stable_seed("12")}) == 5
    assert 0 <= stable_seed("x") < 2**63
