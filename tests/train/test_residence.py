"""Parts of a model that wait off the card: who is away when, back when called, and nothing else changes."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch

from lora_forge.dataset.prepared import PreparedSet
from lora_forge.events import PreviewMade, StageStarted, StepDone
from lora_forge.model import residence as module
from lora_forge.model.build import open_model
from lora_forge.model.latents import encode_images
from lora_forge.model.residence import TEXT, UNET, VAE, Residence, residence_of
from lora_forge.model.text import encode
from lora_forge.ports import BorrowedModel
from lora_forge.toyworld import checkpoint_path
from lora_forge.train import captions_ahead, material
from lora_forge.train.network import Network
from tests.train import tiny


def test_what_is_trained_stays_when_the_networks_leave(model: BorrowedModel) -> None:
    """A CPU has nowhere to go, so by what would be moved: every tensor that was lent, and no other."""
    lent = {id(tensor) for part in (model.unet, model.vae, model.text_towers[0].module) for tensor in part.parameters()}
    residence = Residence(model, True)
    with Network.attach(model, tiny.config(te_learning_rate=1e-3)) as network:
        moved = {id(tensor) for tensors in residence._tensors.values() for tensor in tensors}
        trained = {id(named.parameter) for named in (*network.unet_parameters(), *network.te_parameters())}
        assert lent <= moved
        assert not trained & moved


def test_a_hosts_networks_never_leave(model: BorrowedModel) -> None:
    assert not model.may_leave
    residence = residence_of(model)
    residence.for_encoding(64 * 64)
    residence.for_training(needs_text=False)
    residence.leave(UNET, VAE, TEXT)
    assert residence.away == frozenset()


def test_what_is_called_comes_back_and_all_do_in_the_end(model: BorrowedModel) -> None:
    before = [dict(vars(part)) for part in (*model.unet.modules(), *model.vae.modules())]
    residence = Residence(model, True)
    with residence.calls_home():
        residence.leave(UNET, VAE, TEXT)
        encode(model, ["ohwx"])
        assert residence.away == {UNET, VAE}
        encode_images(model, torch.zeros(1, 3, 16, 16), [0])
        assert residence.away == {UNET}
        residence.for_training(needs_text=False)
        assert residence.away == {VAE, TEXT}
        model.vae.decode(torch.zeros(1, 4, 2, 2))
        assert residence.away == {TEXT}
        residence.rest()
        assert residence.away == {VAE, TEXT}
    assert residence.away == frozenset()
    assert all(not part._forward_pre_hooks for part in (model.unet, *model.vae.children()))
    assert [vars(part).keys() for part in (*model.unet.modules(), *model.vae.modules())] == [
        had.keys() for had in before
    ]


@pytest.mark.parametrize("is_fixed", [True, False])
def test_through_a_run(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel, monkeypatch: pytest.MonkeyPatch, is_fixed: bool
) -> None:
    """As on a card, with a CPU in its place: encoding, steps, previews, and the losses of a run that moves nothing."""
    settings = tiny.config(
        epochs=1, encode_ahead="on", shuffle_tags=not is_fixed, preview_every_steps=2, gradient_checkpointing="off"
    )
    still = tiny.Recorder()
    tiny.run(tmp_path / "still", settings, prepared, model, still)
    monkeypatch.setattr(module, "_KINDS_OF_CARD", ("cpu",))
    moves: list[str] = []
    move = Residence._move

    def noted(self: Residence, part: str, is_leaving: bool) -> None:
        moves.append(part)
        move(self, part, is_leaving)

    monkeypatch.setattr(Residence, "_move", noted)
    said = tiny.Recorder(lambda event: moves.append("train") if event == StageStarted("train", 3, "steps") else None)
    tiny.run(tmp_path / "moved", settings, prepared, dataclasses.replace(model, may_leave=True), said)
    losses = [event.loss for event in still.of(StepDone)]
    assert [event.loss for event in said.of(StepDone)] == pytest.approx(losses, rel=1e-5)  # an address may round a bit
    assert len(said.of(PreviewMade)) == len(still.of(PreviewMade)) > 0
    begun = moves.index("train")
    assert moves[:begun] == ([VAE, TEXT] if is_fixed else [VAE])
    assert (TEXT in moves[begun:]) == is_fixed
    assert VAE in moves[begun:], "a preview wants it"
    assert UNET not in moves, "there is room enough"
    assert all(moves.count(part) % 2 == 0 for part in (VAE, TEXT)), "all are back"


def test_changing_captions_are_encoded_a_stretch_ahead(
    tmp_path: Path, prepared: PreparedSet, model: BorrowedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For SDXL alone; here its size is not what matters, so any model is said to be worth it. Four steps at a time."""
    settings = tiny.config(encode_ahead="on", tag_dropout=0.4, gradient_checkpointing="off")
    still, moved = tiny.Recorder(), tiny.Recorder()
    tiny.run(tmp_path / "still", settings, prepared, model, still)
    monkeypatch.setattr(module, "_KINDS_OF_CARD", ("cpu",))
    monkeypatch.setattr(material, "is_worthwhile", lambda model, config: model.residence.can_leave)
    monkeypatch.setattr(captions_ahead, "STRETCH", 8)
    homecomings: list[int] = []
    come = Residence.come

    def noted(self: Residence, *parts: str) -> None:
        if TEXT in parts and TEXT in self.away:
            homecomings.append(len(moved.of(StepDone)))
        come(self, *parts)

    monkeypatch.setattr(Residence, "come", noted)
    tiny.run(tmp_path / "moved", settings, prepared, dataclasses.replace(model, may_leave=True), moved)
    losses = [event.loss for event in still.of(StepDone)]
    assert [event.loss for event in moved.of(StepDone)] == pytest.approx(losses, rel=1e-5)
    assert homecomings == [0, 3, 6], "for steps 1 to 4, for 4 to 6, and after the last"


@pytest.mark.parametrize("visitors", [(VAE, TEXT), (UNET, VAE, TEXT)])
def test_what_a_host_keeps_off_its_card_visits_it(
    tmp_path: Path,
    prepared: PreparedSet,
    model: BorrowedModel,
    monkeypatch: pytest.MonkeyPatch,
    visitors: tuple[str, ...],
) -> None:
    """Forge's manager keeps what is not drawn with in main memory, --medvram everything. Here a clone is the card's."""
    networks = {UNET: [model.unet], VAE: [model.vae], TEXT: [tower.module for tower in model.text_towers]}
    at_hosts = {part: [p for module in modules for p in module.parameters()] for part, modules in networks.items()}
    places = {part: [p.data_ptr() for p in found] for part, found in at_hosts.items()}
    before = {part: [p.clone() for p in found] for part, found in at_hosts.items()}
    settings = tiny.config(
        epochs=1, encode_ahead="on", shuffle_tags=False, preview_every_steps=2, gradient_checkpointing="off"
    )
    still = tiny.Recorder()
    tiny.run(tmp_path / "still", settings, prepared, model, still)

    host_owned = {place for part in visitors for place in places[part]}
    monkeypatch.setattr(module, "_is_on", lambda tensor, device: tensor.data_ptr() not in host_owned)
    monkeypatch.setattr(module, "_brought", lambda tensor, device: tensor.data.clone())
    there: list[set[str]] = []
    forward = model.unet.forward

    def looked(*args: object, **kwargs: object) -> object:
        if torch.is_grad_enabled():  # a step, not a preview
            there.append({part for part in networks if [p.data_ptr() for p in at_hosts[part]] != places[part]})
        return forward(*args, **kwargs)

    monkeypatch.setattr(model.unet, "forward", looked)
    shutil.rmtree(prepared.images[0].path.parent.parent / "cache")
    moved = tiny.Recorder()
    tiny.run(tmp_path / "moved", settings, prepared, model, moved)
    assert there == [{UNET} & set(visitors)] * 3, "at a step nothing of the host's is on the card but the UNet"
    losses = [event.loss for event in still.of(StepDone)]
    assert [event.loss for event in moved.of(StepDone)] == pytest.approx(losses, rel=1e-5)
    assert [e.path.read_bytes() for e in moved.of(PreviewMade)] == [e.path.read_bytes() for e in still.of(PreviewMade)]
    for part, found in at_hosts.items():
        assert [p.data_ptr() for p in found] == places[part], "all is where it was lent"
        assert all(torch.equal(one, other) for one, other in zip(found, before[part], strict=True))


def test_a_part_that_finds_no_room_stays_away_whole(model: BorrowedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = [p for tower in model.text_towers for p in tower.module.parameters()]
    places = [p.data_ptr() for p in parameters]
    monkeypatch.setattr(module, "_is_on", lambda tensor, device: tensor.data_ptr() not in places)
    left = iter(range(3))

    def brought(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
        if next(left, None) is None:
            raise torch.cuda.OutOfMemoryError("no room")
        return tensor.data.clone()

    monkeypatch.setattr(module, "_brought", brought)
    residence = residence_of(model)
    with pytest.raises(torch.cuda.OutOfMemoryError), residence.calls_home():
        residence.come(TEXT)
    assert residence.away == {TEXT}
    assert [p.data_ptr() for p in parameters] == places


@pytest.mark.parametrize("is_fixed", [True, False])
def test_on_a_cpu_they_go_back_to_the_file(
    tmp_path: Path, prepared: PreparedSet, monkeypatch: pytest.MonkeyPatch, is_fixed: bool
) -> None:
    """The bundled checkpoint lies in float16 on the disk and computes in bfloat16 here."""
    settings = tiny.config(epochs=1, shuffle_tags=not is_fixed, preview_every_steps=2, validation_photos=1)
    lent = open_model(checkpoint_path(), torch.device("cpu"), torch.bfloat16)
    networks = {VAE: lent.vae, TEXT: lent.text_towers[0].module}
    before = {part: [tensor.clone() for tensor in network.parameters()] for part, network in networks.items()}
    still = tiny.Recorder()
    tiny.run(tmp_path / "still", settings, prepared, dataclasses.replace(lent, may_leave=False), still)

    types: list[set[torch.dtype]] = []
    forward = lent.unet.forward

    def looked(*args: object, **kwargs: object) -> object:
        if torch.is_grad_enabled():  # a step, not a preview
            types.append({tensor.dtype for network in networks.values() for tensor in network.parameters()})
        return forward(*args, **kwargs)

    monkeypatch.setattr(lent.unet, "forward", looked)
    moved = tiny.Recorder()
    shutil.rmtree(prepared.images[0].path.parent.parent / "cache")
    tiny.run(tmp_path / "moved", settings, prepared, lent, moved)
    assert not [e for e in moved.events if type(e).__name__ == "Warned"]
    assert types == [{torch.float16}] * 3, "nothing in memory but the UNet"
    losses = [event.loss for event in still.of(StepDone)]
    assert [event.loss for event in moved.of(StepDone)] == pytest.approx(losses, rel=1e-4)
    pictures = [[event.path.read_bytes() for event in one.of(PreviewMade)] for one in (still, moved)]
    assert pictures[0] == pictures[1]
    for part, network in networks.items():
        assert all(torch.equal(one, other) for one, other in zip(before[part], network.parameters(), strict=True))
