"""What a run says, in both languages to the letter: file names with braces, and values that are texts themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_forge.dataset.images import UnreadableImageError
from lora_forge.errors import DatasetError, LoraForgeError
from lora_forge.events import CommandBox, Emit, Event, Recommended, RunStarted, StageDone, StageStarted, Warned
from lora_forge.i18n import Said, Several, some_of
from lora_forge.jobs import JobBoard
from lora_forge.jobs.sentences import sentence_of

ODD = "a{b}.png"
ADVICE = Said(
    "Keep {cell}: {facts}.",
    {
        "cell": Said("epoch {epoch} at strength {strength}", {"epoch": 6, "strength": "0.9"}),
        "facts": Several((Said("{share} like the subject", {"share": "90 %"}), Said("1 picture")), " · "),
    },
)
STARTED = RunStarted(
    name="girl{1}",
    family="sd1",
    prediction_type="epsilon",
    prediction_source=Said("the WebUI, from {name}", {"name": "v1{x}.yaml"}),
    device="cuda",
    precision="bf16",
    photos=30,
    steps_per_epoch=150,
    total_steps=1500,
    first_step=1,
    trained_parameters=1,
)
EXPECTED: list[tuple[Event, str, str]] = [
    (
        Warned("{photo} is left out: the VAE makes no finite latents of it.", {"photo": ODD}),
        "a{b}.png is left out: the VAE makes no finite latents of it.",
        "a{b}.png 不参与训练：VAE 编码它得不到有效数值。",
    ),
    (
        Warned(
            "{problem} Its photo is trained without a mask.",
            {
                "problem": UnreadableImageError(
                    Path(ODD),
                    "it is {kind}, not a picture that is read here",
                    "Save it as JPEG or PNG.",
                    kind=Said("a video"),
                )
            },
        ),
        "a{b}.png can't be used as a photo: it is a video, not a picture that is read here. Save it as JPEG or PNG. "
        "Its photo is trained without a mask.",
        "a{b}.png 不能用作素材：它是视频，不是这里能读的图片。请另存为 JPEG 或 PNG。这张素材训练时不用蒙版。",
    ),
    (
        Warned(
            "{photos}: the caption has several lines; only the first is trained on.",
            {"photos": some_of([ODD, "2.png", "3.png", "4.png", "5.png", "6.png", "7.png"])},
        ),
        "a{b}.png, 2.png, 3.png, 4.png, 5.png and 2 more: the caption has several lines; only the first is trained on.",
        "a{b}.png、2.png、3.png、4.png、5.png 等，另有 2 个：打标有好几行，只用第一行训练。",
    ),
    (
        Warned(
            "The host is not as it was. Changed: {changed}.",
            {
                "changed": Several(
                    (Said("{part}: {aspect}", {"part": "unet", "aspect": Said("weights")}), Said("picture"))
                )
            },
        ),
        "The host is not as it was. Changed: unet: weights, picture.",
        "程序与原来不一样。有变化的：unet: 权重、图片。",
    ),
    (
        StageDone("train", "{step} of {total} steps, {files} files", {"step": 5, "total": 9, "files": 1}),
        "5 of 9 steps, 1 files",
        "5/9 步，1 个文件",
    ),
    (StageStarted("encode", 30), "Encoding 30 images.", "正在编码 30 项。"),
    (StageStarted("sew", 4, "cells"), "sew: 4 cells.", "sew: 4 格."),
    (
        Recommended(6, 0.9, ADVICE),
        "Keep epoch 6 at strength 0.9: 90 % like the subject · 1 picture.",
        "建议保留第 6 轮、强度 0.9：相似度 90 % · 1 张图。",
    ),
    (
        STARTED,
        "girl{1}: 30 photos, 150 steps an epoch, 1500 in all; "
        "base sd1, epsilon (the WebUI, from v1{x}.yaml), on cuda in bf16.",
        "girl{1}：30 张素材，每轮 150 步，共 1500 步；底模 sd1，epsilon（WebUI，来自 v1{x}.yaml），cuda，bf16。",
    ),
]


@pytest.mark.parametrize(("event", "english", "chinese"), EXPECTED, ids=lambda value: type(value).__name__)
def test_it_is_said_in_both_languages(event: Event, english: str, chinese: str) -> None:
    said = sentence_of(event)
    assert said is not None
    assert (said.text(), said.text("zh")) == (english, chinese)


def test_a_stage_that_has_no_more_to_say_says_nothing() -> None:
    assert sentence_of(StageDone("wait")) is None


def test_the_log_keeps_no_error_alive() -> None:
    said = sentence_of(Warned("{problem} ({kind})", {"problem": DatasetError("{x}", x=ODD), "kind": OSError("full")}))
    assert said is not None
    problem, kind = Several((Said("{x}", {"x": ODD}),), " "), Said("{text}", {"text": "full"})
    assert said.values == {"problem": problem, "kind": kind}
    assert said.text("zh") == "a{b}.png (full)"


def test_what_ended_a_job_is_in_its_log_in_the_language_that_is_asked_for() -> None:
    def fail(emit: Emit, commands: CommandBox) -> str:
        raise LoraForgeError("{source} does not exist.", "Check the path.", source=Path(ODD))

    board = JobBoard()
    board.start("Work", fail)
    board.join(30)
    assert [board.snapshot(language=language)["log"][-1] for language in ("en", "zh")] == [
        {"number": 2, "level": "error", "text": "a{b}.png does not exist. Check the path."},
        {"number": 2, "level": "error", "text": "a{b}.png 不存在。请检查路径。"},
    ]
