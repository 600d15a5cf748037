"""The routes of the Tags step, asked as two pages and a program on the disk would."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any
from urllib.parse import quote

import pytest

from lora_forge.dataset.project import Project
from lora_forge.dataset.traits import Traits
from tests.dataset.tags.conftest import put
from tests.web.conftest import Served

CAPTIONS = {
    "photos/a.png": "ohwx, red hair, smile, pink shirt\n",
    "photos/b.png": "ohwx, red hair, park\n",
    "photos/c.png": "A woman is standing in the old park.\n",
}


@pytest.fixture
def tagged(open_server: Served, request: pytest.FixtureRequest) -> tuple[Served, str]:
    """The server and a new project on it."""
    name = f"tags {abs(hash(request.node.name)) % 10**8}"
    put(Project.create(open_server.desk.data_root() / name, "ohwx"), CAPTIONS)
    return open_server, name


def get(served: Served, route: str, **query: Any) -> Any:
    text = "&".join(f"{name}={quote(str(value))}" for name, value in query.items())
    return served.get(f"/lora_forge/{route}?{text}")


def post(served: Served, route: str, **values: Any) -> Any:
    return served.post(f"/lora_forge/{route}", values)


def caption(served: Served, name: str, photo: str) -> str:
    return (served.desk.data_root() / name / "images" / "photos" / f"{photo}.txt").read_text(encoding="utf-8")


ADD = {"kind": "add", "tags": ["hat"]}


def test_all_that_a_page_shows(tagged: tuple[Served, str]) -> None:
    served, name = tagged
    got = get(served, "tags", project=name, language="zh")
    assert (got.status, got.headers["cache-control"]) == (200, "no-store")
    shown = got.json
    assert (shown["trigger_word"], shown["limit"], shown["undo"], shown["problems"]) == ("ohwx", 75, "", [])
    assert shown["photos"][0] == {
        "key": "photos/a.png",
        "tags": ["ohwx", "red hair", "smile", "pink shirt"],
        "tokens": 9,
    }
    assert shown["photos"][2]["text"] == "A woman is standing in the old park."
    assert shown["words"]["pink shirt"] == {"zh": "粉色衬衫", "category": "clothing"}
    assert get(served, "tags", project="no such").status == 400


def test_edits_undo_and_labels_in_the_language_asked(tagged: tuple[Served, str]) -> None:
    served, name = tagged
    base = get(served, "tags", project=name).json["revision"]
    done = post(served, "tags/edit", project=name, base=base, operation=ADD, keys=["photos/b.png"], client="me").json
    assert done["changed"] == {"photos/b.png": {"tags": ["ohwx", "red hair", "park", "hat"], "tokens": 8}}
    assert (done["label"], done["undo"], done["redo"]) == ("Add hat", "Add hat", "")
    again = post(served, "tags/undo", project=name, base=done["revision"], language="zh").json
    assert (again["undo"], again["redo"]) == ("", "添加 hat")
    assert caption(served, name, "b") == CAPTIONS["photos/b.png"]
    assert post(served, "tags/redo", project=name, base=again["revision"]).json["undo"] == "Add hat"
    nothing = post(served, "tags/redo", project=name, language="zh")
    assert (nothing.status, nothing.json["error"]["what"]) == (400, "没有可以重做的操作。")


def test_two_pages_conflict_and_nothing_is_written(tagged: tuple[Served, str]) -> None:
    served, name = tagged
    base = get(served, "tags", project=name).json["revision"]
    post(served, "tags/edit", project=name, base=base, operation=ADD, keys=["photos/a.png"], client="one")
    refused = post(served, "tags/edit", project=name, base=base, operation=ADD, keys=None, client="two", language="zh")
    assert (refused.status, refused.json["conflict"]) == (409, True)
    assert list(refused.json["changed"]) == ["photos/a.png"]
    assert refused.json["changed"]["photos/a.png"]["tags"][-1] == "hat"
    assert "a.png" in refused.json["error"]["what"]
    assert caption(served, name, "b") == CAPTIONS["photos/b.png"]
    seen = get(served, "tags/changes", project=name, since=base).json
    assert (list(seen["changed"]), seen["undo"]) == (["photos/a.png"], "Add hat")
    assert post(served, "tags/edit", project=name, base=seen["revision"], operation=ADD, client="two").status == 200


def test_a_program_on_the_disk_is_told_of(tagged: tuple[Served, str]) -> None:
    served, name = tagged
    base = get(served, "tags", project=name).json["revision"]
    folder = served.desk.data_root() / name / "images" / "photos"
    (folder / "a.txt").write_bytes("ohwx, 猫耳".encode("gbk"))
    (folder / "b.png").unlink()
    seen = get(served, "tags/changes", project=name, since=base).json
    assert seen["changed"]["photos/a.png"]["tags"] == ["ohwx", "猫耳"]
    assert seen["gone"] == ["photos/b.png"]
    refused = post(served, "tags/edit", project=name, base=base, operation=ADD, keys=["photos/b.png"])
    assert (refused.status, refused.json["gone"]) == (409, ["photos/b.png"])


def test_finding_and_what_is_wrong_with_a_query(tagged: tuple[Served, str]) -> None:
    served, name = tagged
    assert get(served, "tags/find", project=name, query="粉色衬衫").json == {"keys": ["photos/a.png"]}
    assert get(served, "tags/find", project=name, query="red hair -smile").json == {"keys": ["photos/b.png"]}
    wrong = get(served, "tags/find", project=name, query="a, (b", language="zh")
    assert (wrong.status, wrong.json["at"], wrong.json["error"]["what"]) == (400, 3, "这个 ( 没有配对的 )。")


def test_suggestions_put_the_sets_own_tags_first(tagged: tuple[Served, str]) -> None:
    served, name = tagged
    found = get(served, "tags/suggest", project=name, text="r", limit=5).json["suggestions"]
    assert found[0] == {"tag": "red hair", "zh": "红发", "category": "hair", "count": 2}
    assert [(one["tag"], one["count"]) for one in found[1:3]] == [("park", 1), ("pink shirt", 1)]
    assert [one["count"] for one in found[3:]] == [0, 0]
    zh = get(served, "tags/suggest", project=name, text="粉色衬", limit=3).json["suggestions"]
    assert (zh[0]["tag"], zh[0]["count"]) == ("pink shirt", 1)
    assert get(served, "tags/suggest", project=name, text="", limit=1).json["suggestions"][0]["tag"] == "red hair"


def test_ones_own_word_is_kept_and_found(tagged: tuple[Served, str]) -> None:
    served, name = tagged
    assert post(served, "tags/word", tag="frobnicated hat", zh="怪帽").json["zh"] == "怪帽"
    assert "frobnicated hat" in (served.desk.data_root() / "words.tsv").read_text(encoding="utf-8")
    post(
        served, "tags/edit", project=name, operation={"kind": "add", "tags": ["frobnicated hat"]}, keys=["photos/b.png"]
    )
    assert get(served, "tags/find", project=name, query="怪帽").json["keys"] == ["photos/b.png"]


@pytest.mark.parametrize("form", ["kohya_json", "txt_zip", "csv"])
def test_an_export_taken_in_again_brings_the_captions_back(tagged: tuple[Served, str], form: str) -> None:
    served, name = tagged
    held = get(served, "tags/export", project=name, format=form)
    assert "attachment" in held.headers["content-disposition"]
    post(served, "tags/edit", project=name, operation={"kind": "remove", "tags": ["red hair", "park"]})
    path = f"/lora_forge/tags/import?project={quote(name)}"
    done = served.post(path, held.body, content_type="application/octet-stream")
    assert (done.status, done.json["strangers"], done.json["label"]) == (200, [], "Import 3 captions")
    assert {key: caption(served, name, key[7]) for key in CAPTIONS} == CAPTIONS
    assert post(served, "tags/undo", project=name).status == 200
    assert caption(served, name, "b") == "ohwx\n"


def test_what_cannot_be_taken_in_is_said(tagged: tuple[Served, str]) -> None:
    served, name = tagged
    some = json.dumps({"/else/where/photos/b": {"tags": "x"}, "nobody": {"tags": "y"}})
    done = post(served, "tags/import", project=name, text=some)
    assert done.json["strangers"] == ["nobody"]
    assert done.json["changed"]["photos/b.png"]["tags"] == ["ohwx", "x"]
    for text, says in (("hello", "no JSON"), ('{"x": 1}', "No photo here"), ("{", "can't be read")):
        refused = post(served, "tags/import", project=name, text=text)
        assert (refused.status, says in refused.json["error"]["what"]) == (400, True), refused.json
    assert get(served, "tags/export", project=name, format="doc").status == 400
    empty = io.BytesIO()
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("a.exe", "x")
    path = f"/lora_forge/tags/import?project={quote(name)}"
    assert served.post(path, empty.getvalue(), content_type="application/octet-stream").status == 400
    assert served.post(path, "a,b", content_type="text/plain").status == 415  # another site's form could send it


def test_the_assistant_proposes_edits_and_remembers(tagged: tuple[Served, str]) -> None:
    served, name = tagged
    shown = get(served, "traits", project=name, kind="anime", language="zh").json
    (hair,) = [group for group in shown["groups"] if group["category"] == "hair"]
    assert (hair["title"], hair["traits"][0]["tag"], hair["traits"][0]["zh"]) == ("头发", "red hair", "红发")
    assert (hair["traits"][0]["proposal"], hair["traits"][0]["answer"], hair["traits"][0]["share"]) == (
        "part",
        None,
        1.0,
    )
    assert "red hair" in shown["sentence"]
    assert len(shown["examples"]) == 2
    base = get(served, "tags", project=name).json["revision"]
    answers = {"red hair": "part", "pink shirt": "changeable"}
    done = post(served, "traits", project=name, base=base, kind="anime", answers=answers, complete=["pink shirt"]).json
    assert done["changed"]["photos/b.png"]["tags"] == ["ohwx", "park", "pink shirt"]
    assert done["traits"]["changeable"] == ["pink shirt"]
    assert "photos/c.png" not in done["changed"]  # a sentence
    project = Project.load(served.desk.data_root() / name)
    assert Traits.load(project).changeable == ("pink shirt",)
    post(served, "tags/undo", project=name)
    assert {key: caption(served, name, key[7]) for key in CAPTIONS} == CAPTIONS
    assert Traits.load(project).answers == {}
    wrong = post(served, "traits", project=name, answers={"red hair": "maybe"})
    assert (wrong.status, "no answer" in wrong.json["error"]["what"]) == (400, True)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"operation": {"kind": "explode"}}, "no operation"),
        ({"operation": ADD, "keys": "all"}, "keys must be"),
        ({"operation": ADD, "keys": [1]}, "list of texts"),
        ({"operation": ADD, "base": "x"}, "base must be"),
        ({"operation": {"kind": "set", "tags": ["a"]}}, "one photo at a time"),
        ({}, "operation is missing"),
    ],
)
def test_a_wrong_request_is_refused_in_a_sentence(
    tagged: tuple[Served, str], values: dict[str, Any], says: str
) -> None:
    served, name = tagged
    got = post(served, "tags/edit", project=name, **values)
    assert (got.status, says in got.json["error"]["what"]) == (400, True), got.json
