"""`nautile embed`: the vision tower's features and the aligner's rows against the goldens."""
import array
import json

import pytest
import servers
from test_commands import assert_refused, home, nautile  # noqa: F401 (a fixture)

JANUS = servers.ROOT / "tests" / "golden" / "model" / "janus-hf"
ABSOLUTE = 2e-4


def golden(name, picture):
    expected = json.loads((JANUS / "expected.json").read_text())
    tensor = expected["tensors"][name]
    pictures, rows, width = tensor["shape"]
    count = rows * width
    index = expected["vision"]["order"].index(picture)
    assert len(expected["vision"]["order"]) == pictures
    start = tensor["offset"] + 4 * count * index
    values = array.array("f", (JANUS / "expected.bin").read_bytes()[start:start + 4 * count])
    return [rows, width], values


def worst(a, b):
    assert len(a) == len(b)
    return max(abs(x - y) for x, y in zip(a, b))


@pytest.mark.real_engine
@pytest.mark.parametrize("picture", ["landscape", "portrait", "tiny", "alpha", "strip"])
def test_features_and_rows_are_the_goldens(home, picture):
    out = home / "seen.f32"
    done = nautile("embed", str(JANUS), "--image", str(JANUS / f"{picture}.png"), "--exact",
                   "--out", str(out), home=home)
    assert done.returncode == 0, done.stderr
    shapes = json.loads(done.stdout)
    features_shape, features = golden("vision.features", picture)
    embeds_shape, embeds = golden("vision.aligner", picture)
    assert shapes["features"] == features_shape and shapes["embeds"] == embeds_shape
    values = array.array("f", out.read_bytes())
    assert worst(values[:len(features)], features) <= ABSOLUTE
    assert worst(values[len(features):], embeds) <= ABSOLUTE


@pytest.mark.real_engine
def test_what_embed_refuses(home):
    picture = str(JANUS / "tiny.png")
    (home / "text.png").write_bytes(b"no picture")
    cases = [
        (("embed", servers.starter_model(), "--image", picture, "--out", str(home / "x")), 3,
         "cannot see"),
        (("embed", str(JANUS), "--image", str(home / "text.png"), "--out", str(home / "x")), 3,
         "PNG, JPEG or WebP"),
        (("embed", str(JANUS), "--image", str(home / "none.png"), "--out", str(home / "x")), 1,
         "cannot open"),
        (("embed", str(JANUS), "--image", picture, "--out", "/dev/full"), 4, "No space left")]
    for arguments, code, words in cases:
        assert_refused(nautile(*arguments, home=home), code, words)
        french = nautile(*arguments, home=home, NAUTILE_LANGUAGE="fr").stderr
        assert "Que faire" in french, french
