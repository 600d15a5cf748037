"""Keep one, put the rest away, and take it back: names, cards, hashes, and every byte."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from lora_forge.dataset.project import Project
from lora_forge.errors import LoraFileError
from lora_forge.lora_file.algebra import loss_between
from lora_forge.lora_file.hashes import model_hash
from lora_forge.lora_file.names import check_name
from lora_forge.lora_file.weights import LoraModule
from lora_forge.lora_file.writer import load_lora, load_metadata
from lora_forge.train.claim import claimed
from lora_forge.work import archive, keeping
from lora_forge.work.keep_form import archived, keep_form
from lora_forge.work.keeping import KeepRequest
from tests.faults.disks import file_limit
from tests.work.conftest import request_for
from tests.work.desk import TinyDesk
from tests.work.kept import contents, make_run, picture


@pytest.fixture
def project(desk: TinyDesk) -> Project:
    make_run(desk.lora_dir())
    return Project.load(desk.data_root() / "anna")


def request(project: Project, **changes: Any) -> KeepRequest:
    values: dict[str, Any] = {
        "name": "girl",
        "epoch": 2,
        "strength": 0.7,
        "new_name": "girl",
        "activation": "ohwx, 1girl",
    }
    return KeepRequest(project, **{**values, **changes})


def test_the_chosen_epoch_is_kept_and_the_others_are_put_away(desk: TinyDesk, project: Project) -> None:
    before = contents(desk.lora_dir())
    made = keeping.keep(desk, request(project))
    assert sorted(contents(desk.lora_dir())) == ["girl.json", "girl.safetensors", "other-000001.safetensors"]
    there = contents(made.entry.folder / archive.FILES)
    assert there == {name: data for name, data in before.items() if name != "other-000001.safetensors"}
    assert len(made.archived) == 7
    assert "girl.safetensors is kept: epoch 2 at strength 0.7. 7 files" in made.sentence.text()
    assert not list((made.entry.folder / archive.MADE).iterdir())


def test_file_alias_and_hashes_are_of_one_piece(desk: TinyDesk, project: Project) -> None:
    source = load_lora(desk.lora_dir() / "girl-000002.safetensors")
    made = keeping.keep(desk, request(project, new_name="ohwx_final"))
    data = load_metadata(made.file)
    assert data["ss_output_name"] == made.file.stem == data["modelspec.title"] == "ohwx_final"
    assert data["sshs_model_hash"] == model_hash(made.file)
    assert json.loads(data["lora_forge.made_from"]) == {
        "name": "girl", "epoch": 2, "strength": 0.7, "baked": False, "run": "girl",
    }  # fmt: skip
    assert data["ss_epoch"] == "2"
    kept = load_lora(made.file).weights
    for name, module in source.weights.items():
        assert torch.equal(kept[name].up, module.up)
        assert torch.equal(kept[name].down, module.down)


def test_baked_is_the_strength_at_one_and_stays_float16(desk: TinyDesk, project: Project) -> None:
    source = load_lora(desk.lora_dir() / "girl-000002.safetensors").weights
    made = keeping.keep(desk, request(project, bake=True))
    kept = load_lora(made.file)
    wanted = {name: LoraModule(one.down, one.up, 0.7 * one.alpha) for name, one in source.items()}
    assert loss_between(wanted, kept.weights).worst < 2**-11
    assert {module.up.dtype for module in kept.weights.values()} == {torch.float16}
    assert json.loads((desk.lora_dir() / "girl.json").read_text("utf-8"))["preferred weight"] == 1.0
    assert "modelspec.hash_sha256" not in kept.metadata
    assert "baked in" in made.sentence.text()


def test_the_card_says_what_hosts_read(desk: TinyDesk, project: Project) -> None:
    wanted = request(project, epoch=1, negative="blurry", notes="the good one", picture=picture(desk.root / "cell.png"))
    keeping.keep(desk, wanted)
    card = json.loads((desk.lora_dir() / "girl.json").read_text("utf-8"))
    assert card == {
        "notes": "the good one",
        "mine": [1, 2],  # from the epoch's own card
        "description": "Made from epoch 1 of girl with LoRA Forge.",
        "sd version": "SD1",
        "activation text": "ohwx, 1girl",
        "preferred weight": 0.7,
        "negative text": "blurry",
    }
    with Image.open(desk.lora_dir() / "girl.png") as shown:
        assert shown.size == (768, 480)
        assert shown.info == {}
        assert not shown.getexif()
        assert shown.getpixel((5, 5)) == (10, 200, 30)
    data = (desk.lora_dir() / "girl.png").read_bytes()
    assert b"secret" not in data
    assert b"home" not in data


def test_undo_puts_back_every_byte_and_trashes_the_kept_one(desk: TinyDesk, project: Project) -> None:
    before = contents(desk.lora_dir())
    made = keeping.keep(desk, request(project, picture=picture(desk.root / "cell.png")))
    kept = contents(desk.lora_dir())
    entry, sentence = keeping.undo(desk, made.entry.id)
    assert contents(desk.lora_dir()) == before
    trash = contents(entry.folder / archive.TRASH)
    assert trash == {name: kept[name] for name in ("girl.json", "girl.png", "girl.safetensors")}
    assert "7 files are back" in sentence.text()
    assert archived(desk.data_root()) == []
    with pytest.raises(LoraFileError, match="undone already"):
        keeping.undo(desk, made.entry.id)


def test_undo_never_writes_over_a_file(desk: TinyDesk, project: Project) -> None:
    made = keeping.keep(desk, request(project))
    (desk.lora_dir() / "girl-000003.safetensors").write_bytes(b"a new one")
    now = contents(desk.root)
    with pytest.raises(LoraFileError, match=r"girl-000003.safetensors exists already"):
        keeping.undo(desk, made.entry.id)
    assert contents(desk.root) == now


def test_undo_takes_a_card_that_was_edited_and_a_kept_file_that_is_gone(desk: TinyDesk, project: Project) -> None:
    before = contents(desk.lora_dir())
    made = keeping.keep(desk, request(project))
    (desk.lora_dir() / "girl.json").write_text('{"notes": "edited"}', encoding="utf-8")
    (desk.lora_dir() / "girl.safetensors").unlink()
    entry, _ = keeping.undo(desk, made.entry.id)
    assert contents(desk.lora_dir()) == before
    assert contents(entry.folder / archive.TRASH) == {"girl.json": b'{"notes": "edited"}'}


def test_a_file_that_vanished_hinders_nothing(desk: TinyDesk, project: Project) -> None:
    made = keeping.keep(desk, request(project))
    (made.entry.folder / archive.FILES / "girl-000001.safetensors").unlink()
    keeping.undo(desk, made.entry.id)
    assert (desk.lora_dir() / "girl-000002.safetensors").is_file()
    assert not (desk.lora_dir() / "girl-000001.safetensors").exists()


def test_names_that_a_host_has_shown_are_not_used_again(desk: TinyDesk, project: Project) -> None:
    assert keeping.proposed_name(desk, "girl") == "girl"
    made = keeping.keep(desk, request(project))
    used = archive.used_stems(desk.data_root())
    assert {"girl-000001", "girl-step00000025", "girl"} <= used
    keeping.undo(desk, made.entry.id)
    assert keeping.proposed_name(desk, "girl") == "girl_v2"
    with pytest.raises(LoraFileError, match="was the name of a file that is in the archive"):
        keeping.keep(desk, request(project))
    keeping.keep(desk, request(project, new_name="girl_v2"))
    (desk.lora_dir() / "girl_v2.safetensors").unlink()
    with pytest.raises(LoraFileError, match="in the archive"):  # a new run would write girl-000001 again
        check_name("girl", desk.lora_dir(), used=archive.used_stems(desk.data_root()))
    check_name("girl", desk.lora_dir(), is_resuming=True, used=archive.used_stems(desk.data_root()))


def test_a_new_run_may_not_take_an_archived_name(desk: TinyDesk, project: Project) -> None:
    from lora_forge.work.planning import plan

    plan(desk, request_for(desk, name="fresh"))
    keeping.keep(desk, request(project, new_name="final"))
    with pytest.raises(LoraFileError, match="in the archive"):
        plan(desk, request_for(desk))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("girl-000007", "taken for an epoch"),
        ("", "it is empty"),
        ("a/b", "it holds /"),
        ("other-000001", "taken for an epoch"),
        ("GIRL2", "exists already"),
        ("card", "nothing is written over"),
    ],
)
def test_names_that_can_not_be_are_refused_before_anything_moves(
    desk: TinyDesk, project: Project, name: str, words: str
) -> None:
    (desk.lora_dir() / "sub").mkdir()
    (desk.lora_dir() / "sub" / "girl2.safetensors").write_bytes(b"x")
    (desk.lora_dir() / "card.json").write_bytes(b"somebody's")
    before = contents(desk.lora_dir())
    with pytest.raises(LoraFileError, match=words):
        keeping.keep(desk, request(project, new_name=name))
    assert contents(desk.lora_dir()) == before
    assert archived(desk.data_root()) == []


def test_a_run_at_work_or_waiting_is_left_alone(desk: TinyDesk, project: Project) -> None:
    with pytest.raises(LoraFileError, match="at work or waits"):
        keeping.keep(desk, request(project), at_work={"girl"})
    with claimed(project.runs_dir / "girl"), pytest.raises(LoraFileError, match="at work or waits"):
        keeping.keep(desk, request(project))
    made = keeping.keep(desk, request(project))
    with pytest.raises(LoraFileError, match="girl is at work or waits"):
        keeping.undo(desk, made.entry.id, at_work={"girl"})


def test_what_is_not_there_or_damaged_is_refused(desk: TinyDesk, project: Project) -> None:
    with pytest.raises(LoraFileError, match="no epoch 9 of girl"):
        keeping.keep(desk, request(project, epoch=9))
    with pytest.raises(LoraFileError, match="no numbered files of boy"):
        keeping.keep(desk, request(project, name="boy"))
    (desk.lora_dir() / "girl-000002.safetensors").write_bytes(b"cut")
    before = contents(desk.root)
    with pytest.raises(LoraFileError):
        keeping.keep(desk, request(project))
    assert contents(desk.root) == before
    with pytest.raises(LoraFileError, match="picture of the card"):
        keeping.keep(desk, request(project, epoch=1, picture=desk.lora_dir() / "girl-000001.preview.png"))
    assert contents(desk.root) == before


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on the size of a program's files")
def test_a_full_disk_leaves_everything_as_it_was(desk: TinyDesk, project: Project) -> None:
    before = contents(desk.root)
    with file_limit(500), pytest.raises(LoraFileError, match="Make room"):
        keeping.keep(desk, request(project))
    assert contents(desk.root) == before
    keeping.keep(desk, request(project))


def test_a_disk_that_refuses_in_the_middle_puts_everything_back(
    desk: TinyDesk, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, link, count = contents(desk.root), os.link, iter(range(100))

    def full(source: Any, target: Any) -> None:
        if next(count) == 4:
            raise OSError(28, "No space left on device")
        link(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", full)
        with pytest.raises(LoraFileError, match="the disk is full"):
            keeping.keep(desk, request(project))
    assert contents(desk.root) == before
    keeping.keep(desk, request(project))  # the name was never seen by a host


def test_a_run_in_a_subfolder_stays_there(desk: TinyDesk, project: Project) -> None:
    make_run(desk.lora_dir() / "people", "boy")
    made = keeping.keep(desk, request(project, name="boy", new_name="boy"))
    assert made.file == desk.lora_dir() / "people" / "boy.safetensors"


def test_the_form_proposes(desk: TinyDesk, project: Project) -> None:
    assert keep_form(desk, project, "", None, None).epochs == ()  # of this project there is none
    (project.runs_dir / "girl").mkdir(parents=True)
    (project.runs_dir / "girl" / "run.json").write_text("{}")
    form = keep_form(desk, project, "", None, None)
    assert (form.name, form.names, form.epochs, form.epoch) == ("girl", ("girl", "other"), (1, 2, 3), 3)
    assert form.activation.split(", ")[-1] == "1girl"
    assert form.family == "SD1.x"
    assert form.new_name == "girl"
    assert len(form.others) == 7
    assert keep_form(desk, project, "girl", 1, 0.5).notes == "first"
    assert keep_form(desk, project, "nobody", 1, 0.5).epochs == ()
    damaged = keep_form(desk, project, "other", None, None)
    assert damaged.problem is not None


def test_the_archive_survives_what_a_person_puts_there(desk: TinyDesk, project: Project) -> None:
    made = keeping.keep(desk, request(project))
    root = desk.data_root() / archive.FOLDER
    (root / "notes.txt").write_text("mine")
    (root / "torn").mkdir()
    (root / "torn" / archive.MANIFEST).write_text('{"state": "kept", "moved": [{"fi')
    (root / "sly").mkdir()
    sly = {"state": "kept", "made_at": 1, "about": {}, "moved": [{"file": "../x", "from": "/etc/passwd"}], "made": []}
    (root / "sly" / archive.MANIFEST).write_text(json.dumps(sly))
    assert [entry.id for entry in archived(desk.data_root())] == [made.entry.id]
    with pytest.raises(LoraFileError, match="nothing in the archive under"):
        archive.find(desk.data_root(), "sly")
    with pytest.raises(LoraFileError, match="nothing in the archive under"):
        archive.find(desk.data_root(), "../anna")


def test_a_path_of_two_disks(desk: TinyDesk, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == desk.root.stat().st_dev:
        pytest.skip("there is one disk here")
    import tempfile

    with tempfile.TemporaryDirectory(dir=other) as far:
        monkeypatch.setattr(desk, "data_root", lambda: Path(far))
        project = Project.create(Path(far) / "anna", "ohwx")
        before = contents(desk.lora_dir())
        made = keeping.keep(desk, request(project))
        assert sorted(contents(desk.lora_dir())) == ["girl.json", "girl.safetensors", "other-000001.safetensors"]
        keeping.undo(desk, made.entry.id)
        assert contents(desk.lora_dir()) == before
