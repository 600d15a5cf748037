"""The checkup itself: look at every photo, judge, keep the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lora_forge.dataset.checkup.finding import Finding
from lora_forge.dataset.checkup.judging import Subject
from lora_forge.dataset.checkup.people import judge_faces, with_subject_first
from lora_forge.dataset.checkup.photos import judge_photos
from lora_forge.dataset.checkup.report import Report, own_photos
from lora_forge.dataset.checkup.seen import Seen, Watcher
from lora_forge.dataset.checkup.sets import judge_set
from lora_forge.dataset.faces.face import Detector
from lora_forge.dataset.faces.finding import find_detector
from lora_forge.dataset.project import Project
from lora_forge.dataset.stages import Stage
from lora_forge.errors import DatasetError
from lora_forge.events import CommandBox, Emit
from lora_forge.i18n import word

STAGE = "checkup"
DONE = word("{count} photos checked: {red} red, {yellow} yellow.")
ORDER = (
    *("count", "resolution", "blur", "duplicates", "broken"),
    *("no_face", "many_faces", "stranger", "small_face", "cut_face", "angles", "framing"),
    *("outfit", "background", "text", "aspect", "grey", "flip"),
)


def run(
    project: Project,
    kind: str,
    resolution_px: int,
    emit: Emit,
    commands: CommandBox,
    *,
    models_dirs: Sequence[Path] = (),
    detector: Detector | None = None,
) -> Report | None:
    """Check the project's photos for training ``kind`` at ``resolution_px``; None when a stop was asked for.

    ``models_dirs``: where insightface's packs or a drawn-face cascade may lie; or say which ``detector``. What was
    measured before a stop is kept, so that the next checkup goes on from there.

    Raises:
        DatasetError: checkup/ can't be written.
        MissingPartError: the detector fails.
    """
    detector = detector or find_detector(models_dirs, kind)
    photos = own_photos(project)
    watcher = Watcher(project, detector)
    stage = Stage(emit, STAGE, len(photos))
    seen: list[Seen] = []
    try:
        for photo in photos:
            if commands.asks_to_stop():
                break
            seen.append(watcher.look(photo))
            stage.advance()
        watcher.save()
        if len(seen) < len(photos):
            return None
        subject = subject_of(seen, kind, resolution_px, detector)
        report = Report.made(project, subject, judge(subject))
        report.save(project)
    except OSError as cause:
        raise DatasetError("{root} can't keep the checkup: {cause}.", root=project.root, cause=cause) from cause
    lights = [finding.light for finding in report.findings]
    stage.finish(DONE, count=len(photos), red=lights.count("red"), yellow=lights.count("yellow"))
    return report


def subject_of(seen: Sequence[Seen], kind: str, resolution_px: int, detector: Detector) -> Subject:
    """What is judged, the face that most photos share first in each."""
    readable = with_subject_first([one for one in seen if one.problem is None])
    broken = tuple(one for one in seen if one.problem is not None)
    return Subject(kind, resolution_px, detector, tuple(readable), broken)


def judge(subject: Subject) -> list[Finding]:
    """All findings, in :data:`ORDER`."""
    findings = [*judge_photos(subject), *judge_faces(subject), *judge_set(subject)]
    return sorted(findings, key=lambda finding: ORDER.index(finding.id))
