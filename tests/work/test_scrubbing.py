"""What is shown to strangers holds no place or name of the person's machine, and stays readable."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath

import pytest

from lora_forge.work.scrubbing import Scrubber

SCRUB = Scrubber([Path("/data/My Photos")], home=Path("/home/jane.doe"), user="jane")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/home/jane.doe/webui/models/x.safetensors", "x.safetensors"),
        ("~/webui/x.png", "x.png"),
        ("/home/jane.doe", "~"),
        ("can't read '/home/jane.doe/a b/c d.png': full", "can't read 'c d.png': full"),
        ("/data/My Photos/anna/images/a.png is gone", "a.png is gone"),
        ("/data/my photos is full", "~ is full"),
        (r"C:\Users\Jane Doe\stable diffusion\x.png", "x.png"),
        ("C:/Users/jane/x.png, D:/y.png", "x.png, y.png"),
        (r"\\server\share\Jane Doe\x.png", "x.png"),
        (r"'C:\\Users\\jane\\x.png'", "'x.png'"),
        ("/etc/passwd and /mnt/My Disk/runs/girl/journal.jsonl", "passwd and journal.jsonl"),
        ("by Jane, of janet", "by ***, of janet"),
        ("1.2 it/s, step 3 / 10, and/or, 4/5", "1.2 it/s, step 3 / 10, and/or, 4/5"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("girl-000001.safetensors (96 keys, 1.2 MB)", "girl-000001.safetensors (96 keys, 1.2 MB)"),
        ("训练 /srv/照片/安娜/图.png 失败", "训练 图.png 失败"),
    ],
)
def test_places_and_names_go_and_the_rest_stays(text: str, left: str) -> None:
    assert SCRUB(text) == left


def test_the_place_of_a_known_folder_goes_however_it_is_written(tmp_path: Path) -> None:
    place, link = tmp_path / "real root", tmp_path / "link"
    place.mkdir()
    link.symlink_to(place)
    scrub = Scrubber([link])
    for text in (f"{link}/a.png", f"{place}/a.png", f"{str(place).upper()}/a.png"):
        assert scrub(text) == "a.png"


def test_a_windows_home_goes_with_all_beneath_it() -> None:
    scrub = Scrubber(home=PureWindowsPath(r"C:\Users\Jane Doe"), user="")  # type: ignore[arg-type]
    assert scrub(r"C:\Users\Jane Doe\web ui\a b.png, c:\users\jane doe") == "a b.png, ~"


def test_a_short_or_common_user_name_does_not_eat_words() -> None:
    assert Scrubber(user="root", home=Path("/root"))("the root of it") == "the root of it"
    assert Scrubber(user="al", home=Path("/home/al"))("al dente") == "al dente"
