"""Whole runs on a tiny checkpoint: what they write, say and obey, and that they leave no trace."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lora_forge.dataset.prepared import PreparedSet
from lora_forge.errors import LoraFileError, TrainingError
from lora_forge.events import (
    Command,
    CommandBox,
    EpochEnded,
    LoraSaved,
    Paused,
    PreviewMade,
    Progress,
    Resumed,
    RunEnded,
    RunStarted,
    StateSaved,
    StepDone,
    Validated,
    Warned,
)
from lora_forge.lora_file.writer import load_lora
from lora_forge.ports import BorrowedModel
from lora_forge.train import step as step_module
from lora_forge.train.draws import latents_seed
from lora_forge.train.journal import read_journal
from lora_forge.train.step import Stepper
from lora_forge.train.tensor_file import load_tree
from tests.train import tiny


def look(model: BorrowedModel) -> list[Any]:
    """Everything about the lent networks that a run could have changed."""
    seen: list[Any] = []
    for network in (model.unet, model.vae, model.text_towers[0].module):
        seen += [(name, id(module), module.training) for name, module in network.named_modules()]
        seen += [sorted(vars(module)) for module in network.modules()]
        seen += [getattr(module, "gradient_checkpointing", None) for module in network.modules()]
        seen += [(n, id(p), p.requires_grad, p.grad is None) for n, p in network.named_parameters()]
    return seen


def bits(model: BorrowedModel) -> dict[str, torch.Tensor]:
    networks = {"unet": model.unet, "vae": model.vae, "text": model.text_towers[0].module}
    return {f"{n}.{k}": v.clone() for n, network in networks.items() for k, v in network.state_dict().items()}


def answer(model: BorrowedModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    noisy, text = (torch.randn(shape, generator=generator) for shape in ((1, 4, 8, 8), (1, 77, tiny.WIDTH)))
    with torch.no_grad():
        return model.unet(noisy, torch.tensor([500]), text, return_dict=False)[0]  # type: ignore[no-any-return]


def test_every_epoch_leaves_its_numbered_file(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    recorder = tiny.Recorder()
    result = tiny.run(tmp_path, tiny.config(validation_photos=2), prepared, model, recorder)
    names = ["tiny-000001.safetensors", "tiny-000002.safetensors"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == names
    assert [p.name for p in result.files] == names
    assert (result.outcome, result.step) == ("done", 6)

    started = recorder.of(RunStarted)[0]
    assert (started.photos, started.steps_per_epoch, started.total_steps, started.first_step) == (3, 3, 6, 1)
    steps = recorder.of(StepDone)
    assert [s.step for s in steps] == [1, 2, 3, 4, 5, 6]
    assert [s.epoch for s in steps] == [1, 1, 1, 2, 2, 2]
    assert steps[-1].window_mse == pytest.approx(sum(s.mse for s in steps[3:]) / 3)
    assert steps[0].window_mse == steps[0].mse
    assert [s.seconds_left > 0 for s in steps] == [True] * 5 + [False]
    assert [(e.epoch, e.step) for e in recorder.of(EpochEnded)] == [(1, 3), (2, 6)]
    assert [(v.epoch, v.step) for v in recorder.of(Validated)] == [(0, 0), (1, 3), (2, 6)]
    assert recorder.of(EpochEnded)[1].validation_loss == recorder.of(Validated)[2].loss
    assert recorder.of(RunEnded)[0].outcome == "done"

    metadata = load_lora(result.files[1]).metadata
    assert metadata["ss_output_name"] == "tiny-000002"
    assert json.loads(metadata["ss_dataset_dirs"]) == {"2_subject": {"n_repeats": 2, "img_count": 3}}
    assert (metadata["ss_epoch"], metadata["ss_steps"]) == ("2", "6")
    assert str(tmp_path) not in json.dumps(metadata)


def test_the_first_validation_is_of_the_base_alone(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    """It is measured after the first epoch, with adapters that have learned; it must be as if they were not there."""
    losses = []
    for rate in (1e-2, 1e-3):
        recorder = tiny.Recorder()
        settings = tiny.config(epochs=1, validation_photos=2, learning_rate=rate)
        tiny.run(tmp_path / str(rate), settings, prepared, model, recorder)
        losses.append([v.loss for v in recorder.of(Validated)])
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] != losses[1][1]


def test_it_learns(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    recorder = tiny.Recorder()
    settings = tiny.config(epochs=1, repeats=30, batch_size=6, rank=8, alpha=8.0, validation_photos=3, conv_rank=4)
    tiny.run(tmp_path, settings.replace(schedule="constant"), prepared, model, recorder)
    base, trained = (v.loss for v in recorder.of(Validated))
    assert trained < 0.97 * base


def test_the_journal_holds_every_event_and_the_config_can_be_given_back(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    from lora_forge import config

    recorder = tiny.Recorder()
    settings = tiny.config(epochs=1)
    tiny.run(tmp_path, settings, prepared, model, recorder)
    lines = read_journal(tmp_path / "run")
    assert [line["event"] for line in lines] == [type(event).__name__ for event in recorder.events]
    assert config.load(tmp_path / "run" / "config.json") == settings


def test_a_torn_journal_line_spoils_no_other(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "journal.jsonl").write_text('{"event": "Kept"}\n{"event": "To', encoding="utf-8")
    tiny.run(tmp_path, tiny.config(epochs=1, gradient_checkpointing="off"), prepared, model)
    events = [line["event"] for line in read_journal(tmp_path / "run")]
    assert events[:2] == ["Kept", "RunStarted"]


def test_a_second_run_in_the_same_folder_is_refused(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    refused: list[str] = []

    def start_another(event: object) -> None:
        if isinstance(event, StepDone) and event.step == 1:
            with pytest.raises(TrainingError, match="Another run is at work in") as caught:
                tiny.run(tmp_path, tiny.config(name="other"), prepared, model)
            refused.append(str(caught.value))

    recorder = tiny.Recorder(start_another)
    assert tiny.run(tmp_path, tiny.config(epochs=1), prepared, model, recorder).outcome == "done"
    assert len(refused) == 1
    assert [line["event"] for line in read_journal(tmp_path / "run")].count("RunStarted") == 1


def test_a_stopped_run_of_another_length_says_what_becomes_of_its_rate(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    box = CommandBox()
    first = tiny.Recorder(lambda e: box.send(Command.STOP_AND_SAVE) if isinstance(e, StepDone) else None)
    tiny.run(tmp_path, tiny.config(epochs=1), prepared, model, first, box)
    recorder = tiny.Recorder()
    settings = tiny.config(epochs=2)
    tiny.run(tmp_path, settings, prepared, model, recorder, resume=True)
    assert ["was planned for 1 epochs and now has 2" in warned.message for warned in recorder.of(Warned)] == [True]
    again = tiny.Recorder()
    tiny.run(tmp_path, settings, prepared, model, again, resume=True)
    assert not again.of(Warned)


def test_max_steps_ends_in_the_middle_and_saves(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    recorder = tiny.Recorder()
    result = tiny.run(tmp_path, tiny.config(max_steps=4), prepared, model, recorder)
    assert result.step == 4
    assert [(e.path.name, e.step) for e in recorder.of(LoraSaved)] == [
        ("tiny-000001.safetensors", 3),
        ("tiny-000002.safetensors", 4),
    ]


def test_every_second_epoch_and_the_last(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    result = tiny.run(tmp_path, tiny.config(epochs=3, repeats=1, save_every_epochs=2), prepared, model)
    assert [p.name for p in result.files] == ["tiny-000002.safetensors", "tiny-000003.safetensors"]


def test_a_used_name_is_refused(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "tiny-000007.safetensors").write_bytes(b"mine")
    with pytest.raises(LoraFileError, match="tiny-000007"):
        tiny.run(tmp_path, tiny.config(), prepared, model)
    assert (tmp_path / "out" / "tiny-000007.safetensors").read_bytes() == b"mine"


@pytest.mark.parametrize("ending", ["done", "stopped", "failed"])
def test_the_lent_model_is_left_as_it_was(
    ending: str, tmp_path: Path, prepared: PreparedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny.build_model()
    model.unet.train()
    next(model.unet.parameters()).requires_grad_(True)
    seen, weights, said = look(model), bits(model), answer(model)
    box, recorder = CommandBox(), tiny.Recorder()
    settings = tiny.config(te_learning_rate=1e-3, conv_rank=1, gradient_checkpointing=True, validation_photos=1)
    if ending == "stopped":
        recorder = tiny.Recorder(lambda e: box.send(Command.STOP) if isinstance(e, StepDone) else None)
    if ending == "failed":
        monkeypatch.setattr(step_module, "predict", fail)
        with pytest.raises(ZeroDivisionError):
            tiny.run(tmp_path, settings, prepared, model, recorder, box)
        assert recorder.of(RunEnded)[0].outcome == "failed"
    else:
        assert tiny.run(tmp_path, settings, prepared, model, recorder, box).outcome == ending
    assert look(model) == seen
    after = bits(model)
    assert after.keys() == weights.keys()
    assert all(torch.equal(after[key], weights[key]) for key in weights)
    assert torch.equal(answer(model), said)


def fail(*_: object) -> None:
    raise ZeroDivisionError


def test_no_global_generator_is_read_or_moved(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        before = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
        settings = tiny.config(epochs=1, flip=True, rank_dropout=0.5, tag_dropout=0.3, validation_photos=1)
        tiny.run(tmp_path / str(seed), settings.replace(preview_every_steps=2), prepared, model)
        assert torch.equal(before[0], torch.get_rng_state())
        assert before[1:] == (random.getstate(), str(np.random.get_state()))
        states.append(load_tree(tmp_path / str(seed) / "run" / "state" / "step-00000003.safetensors")["weights"])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_it_trains_in_a_thread_that_records_no_gradients(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel
) -> None:
    settings = tiny.config(epochs=1, min_snr_gamma=5.0, zero_terminal_snr="on", prediction_type="v_prediction")
    tiny.run(tmp_path / "a", settings, prepared, model)
    with torch.inference_mode():
        tiny.run(tmp_path / "b", settings, prepared, model)
        assert torch.is_inference_mode_enabled()
    one, other = (load_lora(tmp_path / n / "out" / "tiny-000001.safetensors").weights for n in "ab")
    assert all(torch.equal(one[name].up, other[name].up) and one[name].up.any() for name in one)


def test_previews_are_drawn_and_change_nothing(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    plain = tiny.config(ema_decay=0.5)
    shown = plain.replace(preview_every_steps=2, preview_prompts=["TRIGGER, snow", "hair"])
    recorder = tiny.Recorder()
    tiny.run(tmp_path / "a", plain, prepared, model)
    tiny.run(tmp_path / "b", shown, prepared, model, recorder)
    made = recorder.of(PreviewMade)
    columns = ((1, "ohwx, snow"), (2, "hair"))
    assert [(p.step, p.column, p.prompt) for p in made] == [
        (2, 0, "ohwx, snow"),
        *((step, column, prompt) for step in (2, 4, 6) for column, prompt in columns),
    ]
    from PIL import Image

    pictures = [np.asarray(Image.open(p.path)) for p in made]
    assert all(picture.shape == (64, 64, 3) for picture in pictures)
    assert not np.array_equal(pictures[1], pictures[5])
    one, other = (load_tree(tmp_path / n / "run" / "state" / "step-00000006.safetensors") for n in "ab")
    assert all(torch.equal(one["weights"][name], other["weights"][name]) for name in one["weights"])


def test_commands_are_obeyed_between_steps(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    box = CommandBox()
    orders = {
        1: [Command.SAVE_NOW, Command.PREVIEW_NOW],
        2: [Command.PAUSE, Command.SAVE_NOW, Command.RESUME],
        4: [Command.STOP_AND_SAVE],
    }

    def act(event: object) -> None:
        for command in orders.get(event.step, []) if isinstance(event, StepDone) else []:
            box.send(command)

    recorder = tiny.Recorder(act)
    result = tiny.run(tmp_path, tiny.config(), prepared, model, recorder, box)
    assert (result.outcome, result.step) == ("stopped", 4)
    files = [(e.path.stem, e.epoch, e.step) for e in recorder.of(LoraSaved)]
    assert files == [
        ("tiny-step00000001", 1, 1),
        ("tiny-step00000002", 1, 2),
        ("tiny-000001", 1, 3),
        ("tiny-step00000004", 2, 4),
    ]
    assert load_lora(result.files[0]).metadata["ss_output_name"] == "tiny-step00000001"
    assert [e.step for e in recorder.of(StateSaved)] == [1, 2, 3, 4]
    assert [(e.step, e.column) for e in recorder.of(PreviewMade)] == [(1, 0), (1, 1)]
    assert [e.step for e in recorder.of(Paused) + recorder.of(Resumed)] == [2, 2]


def test_a_pause_can_end_in_a_stop(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    box = CommandBox()
    recorder = tiny.Recorder(lambda e: box.send(Command.STOP) if isinstance(e, Paused) else None)
    box.send(Command.PAUSE)
    result = tiny.run(tmp_path, tiny.config(), prepared, model, recorder, box)
    assert (result.outcome, result.step) == ("stopped", 0)
    assert recorder.of(RunEnded)[0].outcome == "stopped"


def test_a_stop_is_obeyed_before_the_first_step(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    box = CommandBox()
    recorder = tiny.Recorder(lambda e: box.send(Command.STOP) if isinstance(e, Progress) else None)
    result = tiny.run(tmp_path, tiny.config(encode_ahead="on"), prepared, model, recorder, box)
    assert (result.outcome, result.step, result.files) == ("stopped", 0, ())
    assert [p.done for p in recorder.of(Progress)] == [1]
    assert recorder.of(RunEnded)[0].outcome == "stopped"


def test_encoding_ahead_or_when_met_gives_the_same_files(tmp_path: Path, model: BorrowedModel) -> None:
    weights = []
    for choice in ("on", "off"):
        settings = tiny.config(encode_ahead=choice, flip=True, validation_photos=2, shuffle_tags=False)
        prepared = tiny.build_project(tmp_path / f"project {choice}")  # each its own cache
        weights.append(load_file(tiny.run(tmp_path / choice, settings, prepared, model).files[-1]))
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_photo_without_finite_latents_costs_its_own_steps_alone(
    tmp_path: Path, model: BorrowedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = tiny.build_project(tmp_path / "project")
    bad = latents_seed(prepared.images[1].key, False)
    tiny.refuse_latents(monkeypatch, bad)
    recorder = tiny.Recorder()
    settings = tiny.config(batch_size=1, epochs=1, validation_photos=3)
    result = tiny.run(tmp_path, settings, prepared, model, recorder)
    assert [("photo1.png" in warning.message) for warning in recorder.of(Warned)] == [True]
    assert sum(step.is_skipped for step in recorder.of(StepDone)) == 2  # its two repeats
    assert all(np.isfinite(validated.loss) for validated in recorder.of(Validated))
    assert all(torch.isfinite(tensor).all() for tensor in load_file(result.files[-1]).values())


def test_a_stop_does_not_wait_for_a_preview(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    box = CommandBox()

    def act(event: object) -> None:
        if isinstance(event, StepDone):
            box.send(Command.PREVIEW_NOW)
            box.send(Command.STOP)

    recorder = tiny.Recorder(act)
    assert tiny.run(tmp_path, tiny.config(), prepared, model, recorder, box).step == 1
    assert not recorder.of(PreviewMade)


def poison(monkeypatch: pytest.MonkeyPatch, bad_steps: set[int]) -> None:
    """Make the prediction NaN in some steps."""
    current = [0]
    run_step, predict = Stepper.run, step_module.predict

    def counted(self: Stepper, batches: Any, step: int, *rest: Any) -> Any:
        current[0] = step
        return run_step(self, batches, step, *rest)

    def poisoned(*args: Any) -> torch.Tensor:
        prediction = predict(*args)
        return prediction * float("nan") if current[0] in bad_steps else prediction

    monkeypatch.setattr(Stepper, "run", counted)
    monkeypatch.setattr(step_module, "predict", poisoned)


def test_a_step_that_is_not_finite_is_skipped(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, {2})
    recorder = tiny.Recorder()
    result = tiny.run(tmp_path, tiny.config(epochs=1, state_every_steps=1), prepared, model, recorder)
    assert [s.is_skipped for s in recorder.of(StepDone)] == [False, True, False]
    assert recorder.of(StepDone)[1].window_mse == recorder.of(StepDone)[0].mse
    states = [load_tree(e.path)["weights"] for e in recorder.of(StateSaved) if e.path.exists()]
    assert len(states) == 2
    assert not all(torch.equal(states[0][n], states[1][n]) for n in states[0])
    assert load_lora(result.files[0]).weights
    assert read_journal(tmp_path / "run")[-1]["event"] == "RunEnded"


def test_many_bad_steps_end_the_run_and_the_last_state_stays(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, set(range(3, 99)))
    recorder = tiny.Recorder()
    settings = tiny.config(repeats=20, state_every_steps=2)
    with pytest.raises(TrainingError, match=r"10 steps in a row were not finite .*photo"):
        tiny.run(tmp_path, settings, prepared, model, recorder)
    assert recorder.of(StepDone)[-1].step == 12
    assert recorder.of(RunEnded)[0].outcome == "failed"
    assert not (tmp_path / "out").exists()
    newest = load_tree(recorder.of(StateSaved)[-1].path)
    assert all(bool(torch.isfinite(t).all()) for t in newest["weights"].values())


def test_weights_that_blow_up_are_never_saved(tmp_path: Path, prepared: PreparedSet, model: BorrowedModel) -> None:
    recorder = tiny.Recorder()
    settings = tiny.config(learning_rate=100.0, optimizer="adamw", lora_plus_ratio=64.0, weight_decay=10.0, repeats=20)
    with pytest.raises(TrainingError):
        tiny.run(tmp_path, settings.replace(schedule="constant", state_every_steps=1), prepared, model, recorder)
    for path in [*(tmp_path / "run" / "state").iterdir()]:
        assert all(bool(torch.isfinite(t).all()) for t in load_tree(path)["weights"].values())
    assert not (tmp_path / "out").exists()
