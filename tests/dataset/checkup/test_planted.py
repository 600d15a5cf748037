"""The measure of the doctor: planted sets, and how much of them each finding gets right. The table: -s."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_forge.dataset import checkup
from lora_forge.dataset.checkup import Report
from lora_forge.dataset.project import Project
from lora_forge.events import CommandBox
from tests.dataset.checkup.planted import DOUBLES, Picture, faulty_set, good_set
from tests.dataset.faces.pack import write_pack

LEAST = 0.9
PER_PHOTO = (
    *("resolution", "blur", "no_face", "many_faces", "stranger", "small_face", "cut_face"),
    *("text", "aspect", "grey", "broken"),
)
TUNED, HELD_OUT = 0, 203
"""The limits were chosen looking at the first set; the second, of other pictures, was made when they stood."""


def checked(start: int, folder: Path, packs: Path) -> tuple[dict[str, frozenset[str]], Report]:
    """The faults planted by name, and what the checkup says."""
    pictures: list[Picture] = [*good_set(start), *faulty_set(start)]
    project = Project.create(folder, "ohwx")
    photos = project.images_dir / "photos"
    for picture in pictures:
        picture.save(photos)
    whole = (photos / "good00.png").read_bytes()
    (photos / "broken0.png").write_bytes(whole[: len(whole) // 2])
    (photos / "broken1.jpg").write_bytes(b"")
    (photos / "broken2.webp").write_bytes(b"<html>404 not found</html>")
    report = checkup.run(project, "person", 512, lambda event: None, CommandBox(), models_dirs=[packs])
    assert report is not None
    truth = {picture.name: picture.faults for picture in pictures}
    return truth | {f"broken{number}": frozenset({"broken"}) for number in range(3)}, report


def rows(truth: dict[str, frozenset[str]], report: Report, start: int) -> dict[str, tuple[set[str], set[str]]]:
    """By finding: what it should name, what it names; pairs for duplicates."""
    found = {id: {f"{start} {Path(key).stem}" for key in report.finding(id).photos} for id in PER_PHOTO}
    meant = {id: {f"{start} {name}" for name, faults in truth.items() if id in faults} for id in PER_PHOTO}
    groups = [sorted(Path(key).stem for key in group) for group in report.finding("duplicates").groups]
    found["duplicates"] = {f"{start} {' '.join(group)}" for group in groups}
    meant["duplicates"] = {f"{start} {' '.join(sorted(pair))}" for pair in DOUBLES}
    return {id: (meant[id], found[id]) for id in found}


@pytest.mark.slow
@pytest.mark.once  # sets and photos are judged on both stacks in the files beside this one
def test_every_finding_names_nearly_all_it_should_and_little_else(tmp_path: Path) -> None:
    """Precision and recall of each finding are at least 0.9 over both sets."""
    write_pack(tmp_path / "packs" / "models" / "buffalo_sc")
    both: dict[str, tuple[set[str], set[str]]] = {}
    photos = 0
    for start in (TUNED, HELD_OUT):
        truth, report = checked(start, tmp_path / "体检 é" / str(start), tmp_path / "packs")
        photos += len(truth)
        for id, (meant, found) in rows(truth, report, start).items():
            before = both.get(id, (set(), set()))
            both[id] = (before[0] | meant, before[1] | found)
    failed = []
    print(f"\n{photos} photos, faces by {report.detector.name}")
    for id, (meant, found) in both.items():
        precision, recall = len(meant & found) / max(len(found), 1), len(meant & found) / len(meant)
        missed, wrong = sorted(meant - found), sorted(found - meant)
        print(
            f"{id:11} planted {len(meant):2}  found {len(found):2}  precision {precision:.2f}  recall {recall:.2f}",
            end="",
        )
        print(f"  missed {missed} wrong {wrong}" if missed or wrong else "")
        assert len(meant) >= 6
        if min(precision, recall) < LEAST:
            failed.append(f"{id}: missed {missed}, wrong {wrong}")
    assert not failed, "\n".join(failed)
