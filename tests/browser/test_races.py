"""What comes late, or goes to something that is no longer chosen, in a real browser."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.browser.conftest import Served
from tests.browser.test_page import bring, go, wait_for_form, wait_for_value

pytestmark = pytest.mark.slow


def test_the_last_wish_counts_and_a_look_that_failed_before_it_does_not(page: Any) -> None:
    told = page.evaluate(
        """async () => {
            const { newest, wait } = loraForge.kit;
            const seen = [];
            const look = newest(async () => {
                const wish = wished;
                await wait(20);
                seen.push(wish);
                if (wish < 0) throw new Error("no answer");
            });
            let wished = -1;
            const first = look();
            for (wished of [2, 3, 4]) look();
            await first;
            wished = -5;
            const failed = await look().catch((problem) => problem.message);
            wished = 6;
            await look();
            return [seen, failed];
        }"""
    )
    assert told == [[-1, 4, -5, 6], "no answer"]


def test_what_was_typed_stays_with_its_project(page: Any, served: Served, pictures: list[str]) -> None:
    bring(page, "typed", pictures)
    go(page, "train")
    wait_for_value(page, "#lora_forge_name input", "typed")
    with page.expect_response(lambda kept: "train/draft" in kept.url):
        page.fill("#lora_forge_repeats input", "7")
        page.fill("#lora_forge_project input", "another")  # before it was kept
    draft = json.loads((served.data / "projects" / "typed" / "train_form.json").read_text("utf-8"))
    assert draft["values"] == {"repeats": 7}

    # a project that is not there yet has no form: what is set waits for it
    page.wait_for_function("loraForge.train.form.told === null")
    go(page, "photos")
    page.fill("#lora_forge_photos label:has-text('Resolution') input", "256")
    page.fill("#lora_forge_project input", "typed")
    wait_for_form(page, "typed")
    go(page, "train")
    wait_for_value(page, "#lora_forge_repeats input", "7")
    assert page.evaluate("loraForge.train.form.values") == {"repeats": 7}
    go(page, "photos")
    bring(page, "another", pictures)
    wait_for_form(page, "another")
    assert page.evaluate("loraForge.train.form.values") == {"resolution_px": 256}


def test_the_form_answers_in_another_language_before_its_frame_is_there(page: Any, pictures: list[str]) -> None:
    bring(page, "spoken", pictures)
    go(page, "train")
    wait_for_form(page, "spoken")
    page.evaluate(
        """() => {
            const fetched = window.fetch;
            window.fetch = async (address, options) => {
                const isOurs = String(address.url || address).includes("lora_forge/");
                if (!isOurs) await loraForge.kit.wait(1500);  // gradio's
                return fetched(address, options);
            };
        }"""
    )
    for language, start in (("简体中文", "开始炼丹"), ("English", "Start")):
        page.click(f"#lora_forge_language label:has-text('{language}')")
        page.wait_for_selector(f"#lora_forge_start:has-text('{start}')")
        page.wait_for_selector("#lora_forge_repeats input")
        page.wait_for_selector("#lora_forge_more .lf-setting", state="attached")
