"""The road from photos to captions in a real browser: a zip, the check-up, preparing, faces, tags, traits, undo."""

from __future__ import annotations

import base64
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lora_forge.toyworld.subject import photos
from tests.browser.conftest import Served
from tests.browser.test_page import FILES, go

pytestmark = pytest.mark.slow

WALL = "#lora_forge_photos .lf-grid .lf-tile"
TILES = "#lora_forge_tags .lf-desk > .lf-grid .lf-tile"
CHIPS = "#lora_forge_tags .lf-caption .lf-chips"
LINE = "#lora_forge_tags > div .lf-note, #lora_forge_tags .lf-note"
REFUSED = "#lora_forge_tags .lf-note:has-text('Somebody else changed these captions')"
TOYS = 12


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip of drawn photos with captions, a real face, and one caption in GBK."""
    data = pytest.importorskip("skimage.data")
    folder = tmp_path_factory.mktemp("archive")
    path = folder / "set.zip"
    with zipfile.ZipFile(path, "w") as file:
        for number, (picture, tags) in enumerate(photos(0)[:TOYS], start=1):
            picture.resize((256, 256)).save(folder / "one.png")
            file.write(folder / "one.png", f"toy-{number:02d}.png")
            caption = ", ".join(tags).encode() if number > 1 else "粉色头发, smile".encode("gbk")
            file.writestr(f"toy-{number:02d}.txt", caption)
        Image.fromarray(data.astronaut()).save(folder / "two.png")
        file.write(folder / "two.png", "woman.png")
        file.writestr("woman.txt", "woman, smile")
    return path


def choose_project(page: Any, name: str, stock: str = "No photos yet") -> None:
    """Type a project's name, and wait until the page follows."""
    page.fill("#lora_forge_project input", name)
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.wait_for_selector(f"#lora_forge_stock :text('{stock}')")


def captions(served: Served, project: str) -> dict[str, str]:
    """Each caption file of the project, by stem."""
    found = sorted((served.data / "projects" / project / "images").rglob("*.txt"))
    return {path.stem: path.read_text(encoding="utf-8").strip() for path in found}


def wait_done(page: Any, title: str, after: str = "") -> str:
    """Until a chore of that title has ended well, one after the job ``after``; gives its job."""
    bar = f".lf-photos .lf-chore:not([data-job='{after}'])"
    page.wait_for_selector(f"{bar} b:text-is('{title} · Done')", timeout=180_000)
    return str(page.get_attribute(bar, "data-job"))


def test_a_zip_is_checked_prepared_tagged_and_nothing_is_lost(page: Any, served: Served, archive: Path) -> None:
    choose_project(page, "road")
    page.set_input_files(FILES, str(archive))
    page.wait_for_selector(f"#lora_forge_photos .lf-good:has-text('{TOYS + 1} photos added.')", timeout=60_000)
    page.wait_for_function(f"document.querySelectorAll('{WALL}').length === {TOYS + 1}")

    # the doctor names what is wrong, and shows it
    page.click("#lora_forge_checkup")
    wait_done(page, "Check-up")
    duplicates = "#lora_forge_photos [data-finding=duplicates]"
    page.wait_for_selector("#lora_forge_photos [data-finding=count].lf-finding", state="attached")
    assert page.locator("#lora_forge_photos .lf-finding").count() >= 15
    assert page.locator(f"{duplicates} .lf-light").count() == 1

    # who somebody is can't be said without a pack: neither fine nor wrong
    stranger = "#lora_forge_photos .lf-findings > [data-finding=stranger]"
    assert page.locator(f"{stranger} .lf-light.lf-grey").count() == 1

    # faces are cut out beside the photos; a wrong one goes by its bin and stays away
    page.check("#lora_forge_photos label:has-text('Extra set of faces') input")
    page.fill("#lora_forge_photos label:has-text('Resolution') input", "256")
    page.click("#lora_forge_process")
    first = wait_done(page, "Prepare")
    page.wait_for_selector("#lora_forge_photos .lf-tab:has-text('Faces 1')")
    page.click("#lora_forge_photos .lf-tab:has-text('Faces')")
    page.hover(WALL)
    page.click(f"{WALL} .lf-bin")
    page.wait_for_selector("#lora_forge_photos .lf-note:has-text('1 photos are in the trash.')")
    page.wait_for_timeout(1000)  # what can be taken back stays on offer
    assert page.is_visible("#lora_forge_photos .lf-note button:has-text('Bring back')")
    page.click("#lora_forge_process")
    wait_done(page, "Prepare", after=first)
    assert list((served.data / "projects" / "road" / "images" / "faces").glob("*.png")) == []

    # tags: the set's, in both languages; one more on a photo, typed in Chinese
    go(page, "tags")
    page.wait_for_function(f"document.querySelectorAll('{TILES}').length === {TOYS + 1}")
    before = captions(served, "road")
    assert before["toy-01"] == "粉色头发, smile"
    page.click(f"{TILES} >> nth=2")
    page.fill("#lora_forge_tags .lf-caption .lf-suggesting input", "粉色衬衫")
    page.wait_for_selector("#lora_forge_tags .lf-suggestions li:has-text('pink shirt')")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{CHIPS}:has-text('pink shirt')")
    assert captions(served, "road")["toy-03"] == before["toy-03"] + ", pink shirt"
    page.fill("#lora_forge_tags input[type=search] >> nth=0", "粉色衬衫")
    page.wait_for_function(f"document.querySelectorAll('{TILES}').length === 1")
    page.fill("#lora_forge_tags input[type=search] >> nth=0", "")
    page.wait_for_function(f"document.querySelectorAll('{TILES}').length === {TOYS + 1}")

    # the trait rule, in one step over all captions
    page.check("#lora_forge_tags .lf-trait[data-tag='pink hair'] input[value=part]")
    page.check("#lora_forge_tags .lf-trait[data-tag='smile'] input[value=changeable]")
    page.click("#lora_forge_apply_traits")
    page.wait_for_selector("#lora_forge_tags .lf-note:has-text('The captions follow your answers.')")
    ruled = captions(served, "road")
    assert not any("pink hair" in text for text in ruled.values())
    assert any("smile" in text for text in ruled.values())
    traits = (served.data / "projects" / "road" / "traits.json").read_text(encoding="utf-8")
    assert "pink hair" in traits

    # undone as one step, also after a reload
    page.reload(wait_until="domcontentloaded")
    page.wait_for_selector("#lora_forge[data-step=tags]", timeout=60_000)
    page.wait_for_function(f"document.querySelectorAll('{TILES}').length === {TOYS + 1}", timeout=60_000)
    page.click("#lora_forge_tags button[title^='Undo']")
    page.wait_for_function("document.querySelector('#lora_forge_tags button[title^=Redo]').disabled === false")
    assert captions(served, "road") == {**before, "toy-03": before["toy-03"] + ", pink shirt"}
    page.click("#lora_forge_tags button[title^='Redo']")
    page.wait_for_function("document.querySelector('#lora_forge_tags button[title^=Redo]').disabled === true")
    assert captions(served, "road") == ruled


def test_the_bundled_tagger_tags_the_photos_and_its_scores_stay(page: Any, served: Served, archive: Path) -> None:
    choose_project(page, "tagged")
    page.set_input_files(FILES, str(archive))
    page.wait_for_selector("#lora_forge_photos .lf-good", timeout=60_000)
    go(page, "tags")
    page.wait_for_function(f"document.querySelectorAll('{TILES}').length === {TOYS + 1}")
    page.click("#lora_forge_tags summary:has-text('Automatic tags')")
    page.wait_for_selector("#lora_forge_auto_run")
    before = captions(served, "tagged")
    page.click("#lora_forge_auto_run")
    page.wait_for_selector(".lf-tags .lf-chore b:text-is('Tagging · Done')", timeout=120_000)
    after = captions(served, "tagged")
    assert after != before
    assert sum("pink hair" in text for text in after.values()) >= TOYS
    page.wait_for_function(f"document.querySelectorAll('{TILES}').length === {TOYS + 1}")
    page.click(f"{TILES} >> nth=1")
    page.wait_for_selector("#lora_forge_tags .lf-preview .lf-chip")


def drop(page: Any, path: Path) -> None:
    """Drop a file of this machine on the zone, as a browser would hand it over."""
    content = base64.b64encode(path.read_bytes()).decode()
    page.evaluate(
        """([name, content]) => {
            const bytes = Uint8Array.from(atob(content), (char) => char.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name));
            const zone = document.querySelector('#lora_forge_upload');
            for (const kind of ['dragover', 'drop'])
                zone.dispatchEvent(new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
        }""",
        [path.name, content],
    )


def test_two_windows_and_another_program_do_not_overwrite_each_other(
    page: Any, browser: Any, served: Served, archive: Path
) -> None:
    choose_project(page, "shared")
    drop(page, archive)
    page.wait_for_selector("#lora_forge_photos .lf-good", timeout=60_000)
    go(page, "tags")
    page.wait_for_function(f"document.querySelectorAll('{TILES}').length === {TOYS + 1}")
    page.click(f"{TILES} >> nth=1")
    before = captions(served, "shared")["toy-02"]

    # another program writes meanwhile: seen before anything of ours is written over it
    (served.data / "projects" / "shared" / "images" / "photos" / "toy-02.txt").write_text(
        before + ", moon\n", encoding="utf-8"
    )
    page.fill("#lora_forge_tags .lf-caption .lf-suggesting input", "sun")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{CHIPS}:has-text('moon')")
    text = captions(served, "shared")["toy-02"]
    assert text.startswith(before + ", moon")

    # a second window: what it wrote is shown here, and what we pressed is not done over it unseen
    other = browser.new_page(viewport={"width": 1280, "height": 1000})
    other.goto(served.address, wait_until="domcontentloaded")
    other.wait_for_selector("#lora_forge[data-step]", timeout=60_000)
    go(other, "tags")
    other.wait_for_function(f"document.querySelectorAll('{TILES}').length === {TOYS + 1}", timeout=60_000)
    other.click(f"{TILES} >> nth=2")
    page.click(f"{TILES} >> nth=2")
    held = captions(served, "shared")["toy-03"]
    for window, word in ((other, "rain"), (page, "snow")):
        window.fill("#lora_forge_tags .lf-caption .lf-suggesting input", word)
    other.keyboard.press("Enter")
    other.wait_for_selector(f"{CHIPS}:has-text('rain')")
    with page.expect_response(lambda answer: "tags/edit" in answer.url) as edited:
        page.keyboard.press("Enter")
    page.wait_for_selector(f"{CHIPS}:has-text('rain')")
    is_seen = edited.value.ok  # seen first and added to; else refused with a sentence
    assert captions(served, "shared")["toy-03"] == (f"{held}, rain, snow" if is_seen else f"{held}, rain")
    page.wait_for_selector(f"{CHIPS}:has-text('snow')" if is_seen else REFUSED)
    other.close()


def test_models_say_size_source_and_terms_before_anything_is_fetched(page: Any, served: Served) -> None:
    page.click("#lora_forge_photos summary:has-text('Models to get')")
    pack = "#lora_forge_photos .lf-download:has-text('buffalo_l')"
    page.wait_for_selector(pack)
    shown = page.inner_text(pack)
    assert "MB" in shown
    assert "non-commercial" in shown
    page.click(f"{pack} button:has-text('Download')")
    page.wait_for_selector("#lora_forge_photos .lf-error:has-text('Accept the terms')")
    assert not (served.data / "projects" / "models").exists()
    page.fill(f"{pack} input[placeholder]", str(served.data / "nothing.zip"))
    page.click(f"{pack} button:has-text('I have the file')")
    page.wait_for_selector("#lora_forge_photos .lf-error:has-text('nothing.zip')")


def test_thousands_of_photos_keep_few_elements_in_the_page(page: Any, served: Served) -> None:
    folder = served.data / "projects" / "many" / "images" / "photos"
    folder.mkdir(parents=True)
    tile = Image.new("RGB", (64, 64), (200, 120, 90))
    tile.save(folder / "seed.png")
    content = (folder / "seed.png").read_bytes()
    (folder / "seed.png").unlink()
    for number in range(2000):
        (folder / f"p{number:04d}.png").write_bytes(content)
        tags = ", ".join(f"tag {(number * 7 + place) % 300}" for place in range(30))
        (folder / f"p{number:04d}.txt").write_text(tags, encoding="utf-8")
    (served.data / "projects" / "many" / "project.json").write_text(
        '{"schema_version": 1, "trigger_word": "", "groups": [], "faces": {}}', encoding="utf-8"
    )
    page.reload(wait_until="domcontentloaded")
    page.wait_for_selector("#lora_forge[data-ready]", timeout=60_000)
    choose_project(page, "many", "2000 photos")
    go(page, "tags")
    page.wait_for_selector(TILES, timeout=60_000)
    assert page.locator(TILES).count() < 120
    page.fill("#lora_forge_tags input[type=search] >> nth=0", "tag 7, NOT tag 8")
    page.wait_for_selector("#lora_forge_tags .lf-count:has-text('of 2000 photos')")
    shown = page.inner_text("#lora_forge_tags .lf-count:has-text('of 2000 photos')")
    wanted = sum((7 - number * 7) % 300 < 30 and (8 - number * 7) % 300 >= 30 for number in range(2000))
    assert re.match(r"(\d+) of", shown) is not None
    assert int(shown.split()[0]) == wanted


def test_the_tags_are_edited_by_keyboard_alone(page: Any, served: Served, archive: Path) -> None:
    choose_project(page, "keys")
    page.set_input_files(FILES, str(archive))
    page.wait_for_selector("#lora_forge_photos .lf-good", timeout=60_000)
    go(page, "tags")
    page.wait_for_function(f"document.querySelectorAll('{TILES}').length === {TOYS + 1}")
    first, second, *rest = captions(served, "keys")["toy-02"].split(", ")

    page.focus("#lora_forge_tags .lf-desk > .lf-grid")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")  # to the field
    page.keyboard.type("moon")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{CHIPS} [data-tag=moon]")
    page.focus(f"{CHIPS} [data-tag='{first}']")
    page.keyboard.press("Alt+ArrowRight")
    page.wait_for_function(f"document.querySelector('{CHIPS}').children[1].dataset.tag === '{first}'")
    assert captions(served, "keys")["toy-02"] == ", ".join([second, first, *rest, "moon"])
    page.focus(f"{CHIPS} [data-tag=moon]")
    page.keyboard.press("Delete")
    page.wait_for_selector(f"{CHIPS} [data-tag=moon]", state="detached")
    page.keyboard.press("Control+z")
    page.wait_for_selector(f"{CHIPS} [data-tag=moon]")

    # the whole caption as text
    page.click("#lora_forge_tags button:has-text('As text')")
    page.fill("#lora_forge_tags .lf-caption textarea", "a girl, at night, moon")
    page.click("#lora_forge_tags .lf-caption button:text-is('Keep')")
    page.wait_for_selector(f"{CHIPS} [data-tag='at night']")
    assert captions(served, "keys")["toy-02"] == "a girl, at night, moon"

    # two tags ticked and removed from all
    page.focus("#lora_forge_tags .lf-set .lf-grid")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    page.wait_for_selector("#lora_forge_tags .lf-count:has-text('2 tags ticked')")
    ticked = page.eval_on_selector_all(
        "#lora_forge_tags .lf-row[aria-selected=true]", "rows => rows.map((row) => row.dataset.key)"
    )
    page.keyboard.press("Delete")
    for tag in ticked:
        page.wait_for_selector(f"#lora_forge_tags .lf-row[data-key='{tag}']", state="detached")
    assert not any(tag in text.split(", ") for tag in ticked for text in captions(served, "keys").values())
