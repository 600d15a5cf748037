"""The measure of the doctor: a planted set, and how much of it each finding gets right."""

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


@pytest.fixture(scope="module", params=[0, 203], ids=["tuned on", "held out"])
def pictures(request: pytest.FixtureRequest) -> list[Picture]:
    """The limits were chosen looking at the first set; the second, of other pictures, was made when they stood."""
    return [*good_set(request.param), *faulty_set(request.param)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, pictures: list[Picture]) -> Project:
    project = Project.create(tmp_path_factory.mktemp("体检 é") / "p", "ohwx")
    folder = project.images_dir / "photos"
    for picture in pictures:
        picture.save(folder)
    whole = (folder / "good00.png").read_bytes()
    (folder / "broken0.png").write_bytes(whole[: len(whole) // 2])
    (folder / "broken1.jpg").write_bytes(b"")
    (folder / "broken2.webp").write_bytes(b"<html>404 not found</html>")
    return project


@pytest.fixture(scope="module")
def report(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Report:
    packs = tmp_path_factory.mktemp("packs")
    write_pack(packs / "models" / "buffalo_sc")
    report = checkup.run(project, "person", 512, lambda event: None, CommandBox(), models_dirs=[packs])
    assert report is not None
    return report


def names(report: Report, finding: str) -> set[str]:
    return {Path(key).stem for key in report.finding(finding).photos}


def test_every_finding_names_nearly_all_it_should_and_little_else(
    report: Report, pictures: list[Picture], capsys: pytest.CaptureFixture[str]
) -> None:
    """The table goes to the terminal with -s; precision and recall of each finding are at least 0.9."""
    truth = {picture.name: picture.faults for picture in pictures}
    truth |= {f"broken{number}": frozenset({"broken"}) for number in range(3)}
    rows = []
    for finding in PER_PHOTO:
        meant = {name for name, faults in truth.items() if finding in faults}
        rows.append((finding, meant, names(report, finding)))
    pairs = report.finding("duplicates").groups
    found_pairs = {tuple(sorted(Path(key).stem for key in group)) for group in pairs}
    rows.append(("duplicates", set(map(str, map(tuple, map(sorted, DOUBLES)))), set(map(str, found_pairs))))
    lines, failed = [f"{len(truth)} photos by {report.detector.name}"], []
    for finding, meant, found in rows:
        right = len(meant & found)
        precision, recall = right / max(len(found), 1), right / len(meant)
        lines.append(
            f"{finding:12} planted {len(meant)}  found {len(found)}  precision {precision:.2f}  recall {recall:.2f}"
        )
        if min(precision, recall) < LEAST:
            failed.append(f"{finding}: missed {sorted(meant - found)}, wrong {sorted(found - meant)}")
    print("\n".join(lines))
    assert not failed, "\n".join(failed)
    assert all(len(meant) >= 3 for _, meant, _ in rows)
