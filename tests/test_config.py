"""The one typed config: ranges, unknown keys, round trips, text from a command line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_forge import config
from lora_forge.config import SCHEMA_VERSION, TrainConfig
from lora_forge.errors import ConfigError


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    made = TrainConfig(name="红", rank=8, targets=("attention",), preview_prompts=("a, b", "c"), learning_rate=1.5e-3)
    made.save(tmp_path / "config.json")
    assert config.load(tmp_path / "config.json") == made
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["name"] == "红"


@given(
    rank=st.integers(1, 1024),
    rate=st.floats(1e-9, 100.0),
    seed=st.integers(0, 2**53),
    flip=st.booleans(),
    name=st.text(max_size=20),
)
def test_any_config_survives_json(rank: int, rate: float, seed: int, flip: bool, name: str) -> None:
    made = TrainConfig(rank=rank, learning_rate=rate, seed=seed, flip=flip, name=name)
    assert config.from_dict(json.loads(json.dumps(made.to_dict()))) == made


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        config.from_dict({"rnk": 8, "epochs": "many", "flip": "perhaps"})
    message = caught.value.message()
    assert "unknown setting 'rnk' (did you mean 'rank'?)" in message
    assert "epochs can't be 'many': it wants a whole number" in message
    assert "flip can't be 'perhaps': it wants true or false" in message


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rank": 0}, "rank is 0, it must be 1 to 1024"),
        ({"max_steps": -1}, "max_steps is -1, it must be at least 0"),
        ({"min_snr_gamma": 5, "debiased": True}, "choose one"),
        ({"targets": [], "conv_rank": 0}, "nothing would be trained"),
        ({"learning_rate": 0, "te_learning_rate": 0}, "nothing would be trained"),
        ({"resolution_px": 500}, "multiple of 8"),
        ({"bucket_min_px": 1024, "bucket_max_px": 512}, "bucket_min_px 1024 is above bucket_max_px 512"),
    ],
)
def test_values_that_make_no_sense_are_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config.from_dict(values)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "nan", True, None, [1]])
def test_a_rate_must_be_a_finite_number(value: object) -> None:
    with pytest.raises(ConfigError, match="learning_rate"):
        config.from_dict({"learning_rate": value})


def test_a_newer_schema_is_refused() -> None:
    with pytest.raises(ConfigError, match="Update LoRA Forge"):
        config.from_dict({"schema_version": SCHEMA_VERSION + 1})


def test_text_from_a_command_line_is_read() -> None:
    said = config.parse_assignments(["rank=8", "flip=TRUE", "learning_rate=3e-4", "targets=attention,projection"])
    made = config.from_dict(said)
    assert (made.rank, made.flip, made.learning_rate) == (8, True, 3e-4)
    assert made.targets == ("attention", "projection")
    assert config.from_dict({"preview_prompts": '["a, b", "c"]'}).preview_prompts == ("a, b", "c")
    with pytest.raises(ConfigError, match="Write it as key=value"):
        config.parse_assignments(["rank"])


def test_replace_checks() -> None:
    assert TrainConfig().replace(rank=4).rank == 4
    with pytest.raises(ConfigError, match="rank"):
        TrainConfig().replace(rank=4096)


@pytest.mark.parametrize("text", ["", "{", "[]", '"rank"'])
def test_a_file_that_holds_no_settings_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"config\.json"):
        config.load(tmp_path / "config.json")
    with pytest.raises(ConfigError, match="can't be read"):
        config.load(tmp_path / "missing.json")


def test_every_field_explains_itself_and_its_default_is_in_range() -> None:
    for field in dataclasses.fields(TrainConfig):
        assert field.metadata["help"].endswith((".", ":")), field.name
        if isinstance(field.default, (int, float)):
            assert field.metadata["least"] <= field.default <= field.metadata["most"], field.name
