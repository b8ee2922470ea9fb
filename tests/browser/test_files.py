"""What goes in and out: exported files, notebooks, hostile names, damaged and long files."""

import struct
import xml.etree.ElementTree
import zlib

import numpy as np
import pytest

import selfattn
from attention_maps import HOSTILE, Statistics, softmax_maps

SVG = "{http://www.w3.org/2000/svg}"


def texts(path):
    root = xml.etree.ElementTree.parse(path).getroot()
    assert root.tag == f"{SVG}svg"
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags <= {"svg", "g", "clipPath", "rect", "line", "path", "text", "image"}, "no script"
    return [element.text or "" for element in root.iter(f"{SVG}text")], root


def png_size(path):
    """Width and height of a PNG file whose every part is whole."""
    raw = path.read_bytes()
    assert raw.startswith(b"\x89PNG\r\n\x1a\n")
    at, body = 8, b""
    while at < len(raw):
        (size,) = struct.unpack(">I", raw[at : at + 4])
        kind, data = raw[at + 4 : at + 8], raw[at + 8 : at + 8 + size]
        checksum = struct.unpack(">I", raw[at + 8 + size : at + 12 + size])[0]
        assert checksum == zlib.crc32(kind + data)
        body += data if kind == b"IDAT" else b""
        at += 12 + size
    assert kind == b"IEND"
    wide, high = struct.unpack(">II", raw[16:24])
    assert len(zlib.decompress(body)) in [high * (wide * n + 1) for n in (3, 4)]
    return wide, high


@pytest.mark.parametrize(("key", "name"), [("1", "tokens"), ("2", "matrix"), ("3", "model")])
def test_export(page, rng, key, name):
    """A whole short text is in the file, also what the window does not show."""
    tokens = [f"word{i}" for i in range(36)]
    page.open(selfattn.view(softmax_maps(rng, 2, 2, 36, 36), tokens, layers=["a", "b"]))
    page.press(key)
    words, root = texts(page.download("#save-svg", "svg"))
    png = page.download("#save-png", "png")
    wide, high = png_size(png)
    assert wide == pytest.approx(2 * float(root.get("width")), abs=1)
    assert high == pytest.approx(2 * float(root.get("height")), abs=1)
    if name == "model":
        assert {"a", "b"} <= set(words)
        assert len(list(root.iter(f"{SVG}image"))) == 4
    else:
        assert set(tokens) <= set(words)
    if name == "tokens":
        assert len(list(root.iter(f"{SVG}path"))) > 36
    assert png.name == f"attention-{name}.png"
    page.driver.get(png.as_uri())
    assert page.run("return document.images[0].naturalWidth") == wide
    page.driver.get(png.with_suffix(".svg").as_uri())
    assert page.run("return document.documentElement.tagName") == "svg"


def test_hostile_names_are_shown_and_do_nothing(page, rng):
    n = len(HOSTILE)
    view = selfattn.view(
        softmax_maps(rng, 2, 2, n, n), HOSTILE, title=HOSTILE[0], layers=HOSTILE[1:3],
        heads=HOSTILE[4:6],
    )  # fmt: skip
    page.open(view)
    shape = "return [document.scripts.length, document.images.length, document.forms.length]"
    parts = page.run(shape)
    shown = []
    for _ in HOSTILE:
        page.press("ARROW_DOWN")
        shown.append(page.text("#panel-heading"))
    for token, text in zip(HOSTILE, shown, strict=True):
        if token.isprintable() and token.strip() and len(token) < 200:
            assert text == token
        assert text.strip()
        assert len(text) <= 600
        assert not set(text) & set("\x00\x1b\n\t\u202e\u202c\u200b\ufeff\u2028")
    assert "[U+202E]" in shown[HOSTILE.index("\u202egnp.exe\u202c")]
    assert shown[HOSTILE.index("")] == "\u2205"
    assert shown[HOSTILE.index("\n")] == "\u23ce"
    assert shown[HOSTILE.index("\ud800")] == "\ufffd"
    for key in "2", "3":
        page.press(key)
    assert page.run(shape)[0:1] == parts[0:1]
    assert page.run(shape)[1:] == parts[1:]
    assert page.text("#title") == HOSTILE[0]
    assert page.run("return document.title") == HOSTILE[0]
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    page.press("1", "/", *"<img", "ENTER")
    assert page.text("#panel-heading") == HOSTILE[1]
    words, _ = texts(page.download("#save-svg", "svg"))
    assert HOSTILE[3] in words


def test_the_policy_stops_foreign_script(page, rng):
    """What the markup of a token could do if it ever became markup: nothing."""
    page.may_complain = True
    page.open(selfattn.view(softmax_maps(rng, 3, 3)))
    page.run("""
        const holder = document.createElement("div");
        holder.innerHTML = "<img src=x onerror='window.taken = 1'>"
          + "<img src='https://selfattn.invalid/x.png'>";
        document.body.append(holder);
        const script = document.createElement("script");
        script.textContent = "window.taken = 2";
        document.body.append(script);
    """)
    page.settle()
    assert page.run("return window.taken === undefined")
    outcome = page.driver.execute_async_script(
        "const done = arguments[0]; fetch('https://selfattn.invalid/').then(() => done('sent'),"
        " (error) => done(String(error)))"
    )
    assert "TypeError" in outcome
    log = [entry["message"] for entry in page.driver.get_log("browser")]
    assert sum("Content Security Policy" in message for message in log) >= 4


def test_a_cell_of_a_notebook(page, rng):
    """In a sandboxed frame of a page with styles and scripts of its own, twice."""
    weights = softmax_maps(rng, 1, 6, 6)
    frames = [
        selfattn.view(weights, list(word), height=500)._repr_mimebundle_()[0]["text/html"]
        for word in ("abcdef", "uvwxyz")
    ]
    path = page.folder / "notebook.html"
    path.write_text(
        "<!doctype html><meta charset=utf-8><style>* {color: red; font-size: 40px}</style>"
        "<script>window.define = () => {}; define.amd = {};</script>" + "".join(frames)
    )
    page.driver.get(path.as_uri())
    for place, word in enumerate(("abcdef", "uvwxyz")):
        page.driver.switch_to.default_content()
        frame = page.driver.find_elements("css selector", "iframe")[place]
        page.run("arguments[0].scrollIntoView()", frame)
        page.driver.switch_to.frame(frame)
        page.wait("document.body.dataset.ready === 'true'")
        page.settle()
        page.press("1")
        page.run("document.getElementById('tokens-scroller').focus()")
        page.press("ARROW_DOWN")
        assert page.text("#panel-heading") == word[0]
        assert page.run("return getComputedStyle(document.body).fontSize") == "14px"
        assert page.run("return self.origin") == "null"
        assert page.download("#save-svg", "svg")
        for file in page.folder.glob("*.svg"):
            file.unlink()


def test_damaged_files_say_so(page, rng):
    page.may_complain = True
    view = selfattn.view(softmax_maps(rng, 2, 30, 30))
    text = view.to_html()
    path = page.folder / "damaged.html"

    def spoil(block):
        at = text.index(f'id="{block}">') + 200
        path.write_text(text[:at] + "A" * 40 + text[at + 40 :])
        page.driver.get(path.as_uri())

    spoil("header")
    page.wait("!document.getElementById('failure').hidden")
    assert "cannot be shown" in page.text("#failure")
    spoil("b1")
    page.wait("document.getElementById('panel-about').textContent.includes('cannot be read')")
    path.write_text(text[: text.index('id="b1"')])
    page.driver.get(path.as_uri())
    page.wait("document.getElementById('panel-about').textContent.includes('cannot be read')")


def test_what_another_version_wrote_is_refused(page, rng, monkeypatch):
    page.may_complain = True
    monkeypatch.setattr("selfattn.viewer._payload.FORMAT", 99)
    path = page.folder / "other.html"
    selfattn.view(softmax_maps(rng, 3, 3)).save(path)
    page.driver.get(path.as_uri())
    page.wait("!document.getElementById('failure').hidden")
    assert "format 99" in page.text("#failure")


def test_memory_is_given_back(page, rng):
    """With room for two maps only, all can still be seen, one after another."""
    weights = softmax_maps(rng, 6, 40, 40)
    page.open(selfattn.view(weights, [f"t{i}" for i in range(40)]))
    page.run("Heads.MOST_BYTES = 12000")
    for head in [*range(6), 0, 3]:
        page.click(f"#heads :nth-child({head + 1})").press("ESCAPE", "ARROW_DOWN")
        assert int(page.table()[0][1]) == weights[head, 0].argmax()


def test_statistics_of_several_layers(page, rng):
    weights = softmax_maps(rng, 2, 3, 40, 40)
    page.open(selfattn.view([Statistics.of(w, side=16) for w in weights], layers=["a", "b"]))
    page.press("}", "]", "ARROW_DOWN")
    assert page.table()[0][1] == str(np.argmax(weights[1, 1, 0]))
