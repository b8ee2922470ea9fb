"""The page as a file: nothing foreign in it, nothing runs but its own script; where it goes."""

import base64
import hashlib
import html
import html.parser
import re
import struct
import subprocess
import sys
import webbrowser
import zlib
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import selfattn
from attention_maps import HOSTILE, Page, Statistics, softmax_maps
from selfattn.viewer import _command, _page

WEB = files("selfattn.viewer") / "web"
WEB_FILES = sorted(path.name for path in WEB.iterdir())


class Parts(html.parser.HTMLParser):
    """Tags with their attributes, the text of style and script elements, and all other text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.styles, self.words = [], [], [], []
        self.inside = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside = (tag, dict(attributes))

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside and self.inside[0] == "script" and "type" not in self.inside[1]:
            self.scripts.append(data)
        elif self.inside and self.inside[0] == "style":
            self.styles.append(data)
        elif self.inside is None or self.inside[0] != "script":
            self.words.append(data)


@pytest.fixture(scope="module")
def hostile_view():
    rng = np.random.default_rng(5)
    n = len(HOSTILE)
    return selfattn.view(
        softmax_maps(rng, 2, n, n), HOSTILE, layers=[HOSTILE[0]], heads=HOSTILE[1:3],
        title=HOSTILE[0],
    )  # fmt: skip


@pytest.fixture(scope="module")
def parts(hostile_view):
    return Parts(hostile_view.to_html())


def test_one_script_and_one_style_allowed_by_their_hashes(parts):
    [script], [style] = parts.scripts, parts.styles
    [policy] = [a["content"] for t, a in parts.tags if "http-equiv" in a]

    def hashed(text):
        digest = hashlib.sha256(text.encode()).digest()
        return f"'sha256-{base64.b64encode(digest).decode()}'"

    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules == {
        "default-src": "'none'", "script-src": hashed(script), "style-src": hashed(style),
        "img-src": "data:", "base-uri": "'none'", "form-action": "'none'",
    }  # fmt: skip
    names = [tag for tag, _ in parts.tags]
    before_policy = names[: names.index("meta") + 2]
    assert set(before_policy) == {"html", "head", "meta"}, "the policy stands before all it rules"


def test_no_address_of_anything_outside(parts):
    for tag, attributes in parts.tags:
        assert tag not in ("iframe", "object", "embed", "base", "img")
        for name, value in attributes.items():
            assert not name.startswith("on"), f"{tag} {name}"
            if name in ("src", "href", "action", "srcset", "data"):
                assert value == "data:,", f"{tag} {name}={value}"
    code = "".join(parts.scripts + parts.styles)
    addresses = set(re.findall(r"(?:https?:)?//[\w.]+", code)) - {"http://www.w3.org"}
    assert not {a for a in addresses if "." in a}, "an address in script or style"
    assert not re.search(r"url\((?!#)|@import|fetch\(|XMLHttpRequest|WebSocket|sendBeacon", code)


def test_scripts_write_no_markup():
    """Names reach the page by textContent and attributes only, and no text is run as code."""
    for name in _page.SCRIPTS:
        text = (WEB / name).read_text(encoding="utf-8")
        forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
        assert not re.search(forbidden, text), name
        assert not re.search(r"localStorage|sessionStorage|document\.cookie", text), name


def test_hostile_names_are_in_no_place_but_the_payload(hostile_view, parts):
    text = hostile_view.to_html()
    words = "".join(parts.words)
    for token in HOSTILE:
        if len(token) > 3:
            assert token not in text or token in ("constructor",), token
            assert token not in words
    assert text.isascii() or max(text) < "\ud800"
    assert Page(text).header["tokens"] == HOSTILE
    text.encode("utf-8")


def test_every_web_file_is_used_and_short():
    assert set(WEB_FILES) == {*_page.SCRIPTS, *_page.STYLES, "page.html"}
    for name in WEB_FILES:
        text = (WEB / name).read_text(encoding="utf-8")
        lines = text.splitlines()
        assert len(lines) <= 400, name
        assert "\r" not in text
        assert "\t" not in text
        assert text.endswith("\n")
        assert max(map(len, lines)) <= 100, name
        assert "</script" not in text.lower() or name == "page.html"
        if name != "page.html":
            assert text.startswith("/*"), f"{name} opens with what it is for"
        assert not re.search(r"TODO|FIXME|console\.", text), name


def test_save(hostile_view, tmp_path):
    path = tmp_path / "x.html"
    hostile_view.save(path)
    assert path.read_bytes() == hostile_view.to_html().encode()
    hostile_view.save(str(path))
    with pytest.raises(OSError, match="nowhere"):
        hostile_view.save(tmp_path / "nowhere" / "x.html")


def test_what_comes_first_is_enough_to_draw(hostile_view):
    """Header and thumbnails stand before the script, the maps after it."""
    text = hostile_view.to_html()
    script = text.index("<script>")
    assert text.index('id="header"') < text.index('id="b0"') < script < text.index('id="b1"')


def test_notebook_bundle(hostile_view):
    data, metadata = hostile_view._repr_mimebundle_()
    n = len(HOSTILE)
    assert data["text/plain"] == f"View of 1 layer x 2 heads, {n} queries x {n} keys"
    [(tag, frame)] = Parts(data["text/html"]).tags
    assert tag == "iframe"
    assert frame["srcdoc"] == hostile_view.to_html()
    assert frame["sandbox"] == "allow-scripts allow-downloads"
    assert frame["height"] == "640"
    png = base64.b64decode(data["image/png"])
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    wide, high = struct.unpack(">II", png[16:24])
    assert metadata["image/png"] == {"width": wide, "height": high}


def test_the_small_image_is_a_png_of_the_thumbnails():
    weights = np.array([[[1.0, 0.0], [0.25, 0.75]]])
    png = base64.b64decode(selfattn.view(weights)._repr_mimebundle_()[0]["image/png"])
    chunks, at = {}, 8
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        name, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        checksum = struct.unpack(">I", png[at + 8 + size : at + 12 + size])[0]
        assert checksum == zlib.crc32(name + body)
        chunks[name] = body
        at += 12 + size
    wide, high = struct.unpack(">II", chunks[b"IHDR"][:8])
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(high, wide + 1)
    assert not lines[:, 0].any()
    codes = lines[:: high // 2, 1 :: wide // 2]
    assert codes[0].tolist() == [255, 0]
    assert codes[1].tolist() == [235, 251]


def test_a_notebook_gets_no_page_that_is_too_large(rng, monkeypatch):
    view = selfattn.view(softmax_maps(rng, 1, 5, 5))
    monkeypatch.setattr("selfattn.viewer._view._MOST_IN_NOTEBOOK", 1000)
    text = view._repr_mimebundle_()[0]["text/html"]
    assert "iframe" not in text
    assert "view.save('attention.html')" in text


def test_the_payload_is_not_built_twice(rng, monkeypatch):
    view = selfattn.view(softmax_maps(rng, 1, 5, 5))
    first = view.to_html()
    monkeypatch.setattr("selfattn.viewer._view.blocks_of", None)
    assert view.to_html() == first


def test_later_changes_of_the_weights_do_not_show(rng):
    weights = softmax_maps(rng, 1, 5, 5)
    view = selfattn.view(weights)
    weights[:] = 0
    assert Page(view.to_html()).head()[0]["scale"] > 0


# -- python -m selfattn view


def command(*args):
    return subprocess.run([sys.executable, "-m", "selfattn", "view", *map(str, args)],
                          capture_output=True, text=True, timeout=60)  # fmt: skip


def test_command_writes_the_page(rng, tmp_path):
    weights = softmax_maps(rng, 2, 3, 4, 4)
    file = tmp_path / "a.npz"
    np.savez(file, weights=weights, tokens=list("abcd"), layers=[7, 8], title="Title")
    done = command(file, "--no-open")
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "a.html") in done.stdout
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    expected = selfattn.view(weights, list("abcd"), layers=[7, 8], title="Title")
    assert text == expected.to_html()
    done = command(file, "--exact", "-o", tmp_path / "b.html")
    assert Page((tmp_path / "b.html").read_text()).head()[0]["kind"] == "floats"


def test_command_takes_statistics(rng, tmp_path):
    stats = Statistics.of(softmax_maps(rng, 3, 9, 9), side=4)
    np.savez(tmp_path / "a.npz", **stats.arrays())
    assert command(tmp_path / "a.npz", "-o", tmp_path / "b.html").returncode == 0
    assert (tmp_path / "b.html").read_text(encoding="utf-8") == selfattn.view(stats).to_html()


def test_statistics_of_a_call_as_a_file(rng, tmp_path):
    """The arrays of attention_stats under their names are the same page."""
    q, k = rng.standard_normal((2, 3, 90, 8), dtype=np.float32)
    found = selfattn.attention_stats(q, k, causal=True, top_k=4, overview=16,
                                     head_scores=("previous", "first"))  # fmt: skip
    names = ("entropy", "max", "argmax", "distance", "top_rest", "top_indices", "top_weights",
             "received")  # fmt: skip
    arrays = {name: getattr(found, name) for name in names}
    arrays |= {"overview_max": found.overview.max, "overview_mean": found.overview.mean}
    arrays |= {f"head_score_{name}": score for name, score in found.head_scores.items()}
    np.savez(tmp_path / "a.npz", **arrays)
    page = selfattn.viewer._npz.view_file(tmp_path / "a.npz")
    assert page.to_html() == selfattn.view(found).to_html()


def test_command_opens_the_page(rng, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    np.savez(tmp_path / "a.npz", weights=softmax_maps(rng, 3, 3))
    assert _command.main([str(tmp_path / "a.npz")]) == 0
    assert opened == [(tmp_path / "a.html").as_uri()]
    assert _command.main([str(tmp_path / "a.npz"), "-o", str(tmp_path / "b.html")]) == 0
    assert len(opened) == 1


class Trap:
    """A pickle that would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_command_refuses_hostile_files(rng, tmp_path):
    trap = tmp_path / "trapped"
    cases = {
        "pickle": {"weights": np.array([Trap(trap)], dtype=object)},
        "names": {"weights": np.ones((2, 2)), "evil": np.ones(1)},
        "both": {"weights": np.ones((2, 2)), "entropy": np.ones(2)},
        "nothing": {"tokens": np.array(["a"])},
        "numbers": {"weights": np.ones((2, 2)), "tokens": np.ones((2, 2))},
        "title": {"weights": np.ones((2, 2)), "title": np.array(["a", "b"])},
        "nan": {"weights": np.full((2, 2), np.nan)},
    }
    words = {
        "pickle": "allow_pickle=False", "names": "evil", "both": "weights and statistics",
        "nothing": "neither weights nor statistics", "numbers": "tokens", "title": "title",
        "nan": "nan",
    }  # fmt: skip
    for name, arrays in cases.items():
        file = tmp_path / f"{name}.npz"
        np.savez(file, **arrays)
        with pytest.raises((ValueError, TypeError)) as caught:
            selfattn.viewer._npz.view_file(file)
        assert words[name] in str(caught.value), name
    done = command(tmp_path / "pickle.npz")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert not trap.exists()
    assert not (tmp_path / "pickle.html").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04broken", b"\x93NUMPY\x01\x00garbage"])
def test_command_says_what_is_wrong_with_a_broken_file(tmp_path, content):
    file = tmp_path / "x.npz"
    file.write_bytes(content)
    done = command(file)
    assert done.returncode == 1
    assert "x.npz cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_command_says_that_a_file_is_missing(tmp_path):
    done = command(tmp_path / "none.npz")
    assert done.returncode == 1
    assert "none.npz" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_truncated_archive_is_an_error(rng, tmp_path):
    file = tmp_path / "x.npz"
    np.savez_compressed(file, weights=softmax_maps(rng, 40, 40))
    whole = file.read_bytes()
    middle = len(whole) // 2
    file.write_bytes(whole[:middle] + bytes(200) + whole[middle + 200 :])
    with pytest.raises(ValueError, match="cannot be read"):
        selfattn.viewer._npz.view_file(file)
