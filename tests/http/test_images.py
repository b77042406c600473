"""Pictures in both directions, through the openai client for Python, unchanged: over the scripted
engine for what must be refused or come at a known time, and with a tiny Janus for the real one."""
import base64
import fcntl
import json
import os
import pathlib
import pty
import signal
import subprocess
import threading

import openai
import pngs
import pytest
import servers
from test_commands import assert_refused, nautile

JANUS = servers.ROOT / "tests" / "golden" / "model" / "janus-hf"


def client_of(server):
    return openai.OpenAI(api_key=server.key, base_url=server.url + "/v1", max_retries=0, timeout=60)


def bytes_of(image):
    return base64.b64decode(image.b64_json, validate=True)


def url_of(png, kind="png"):
    return f"data:image/{kind};base64," + base64.b64encode(png).decode()


def picture(png):
    return {"type": "image_url", "image_url": {"url": url_of(png)}}


def text(words):
    return {"type": "text", "text": words}


SEA = pngs.make(40, 30, lambda x, y: (20, 60 + y, 120 + x))
SUN = pngs.make(30, 50, lambda x, y: (250 - y, 200 - x, 40))

# ---- the scripted engine -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def scripted():
    server = servers.start_scripted("--janus")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def client(scripted):
    return client_of(scripted)


def test_a_picture_and_four(client):
    one = client.images.generate(prompt="a lighthouse", model="janus", size="384x384",
                                 response_format="b64_json", extra_body={"seed": 12})
    assert len(one.data) == 1 and one.created > 1_700_000_000
    width, height, _ = pngs.read(bytes_of(one.data[0]))
    assert (width, height) == (384, 384)
    assert one.usage.total_tokens == one.usage.input_tokens + one.usage.output_tokens
    assert one.usage.output_tokens == 576 and one.size == "384x384"
    four = client.images.generate(prompt="a lighthouse", n=4, extra_body={"seed": 10})
    assert [image.seed for image in four.data] == [10, 11, 12, 13]
    assert len({bytes_of(image) for image in four.data}) == 4
    assert bytes_of(four.data[2]) == bytes_of(one.data[0]), "picture i alone, by its seed"


def test_a_stream_of_sketches_and_the_picture(client):
    fields = {"prompt": "a lighthouse", "extra_body": {"seed": 3}}
    events = list(client.images.generate(stream=True, partial_images=3, **fields))
    assert [event.type for event in events] == ["image_generation.partial_image"] * 3 + [
        "image_generation.completed"]
    whole = pngs.read(bytes_of(events[-1]))
    for i, event in enumerate(events[:3]):
        assert event.partial_image_index == i and event.output_format == "png"
        assert event.size == "384x384" and event.created_at > 1_700_000_000
        width, height, rows = pngs.read(bytes_of(event))
        assert (width, height) == (384, 384)
        drawn = 96 * (i + 1)
        assert rows[:drawn] == whole[2][:drawn], "the scripted picture is its own sketch"
        assert set(b"".join(rows[drawn:])) == {0x7f}
    last = events[-1]
    assert last.usage.total_tokens == last.usage.input_tokens + last.usage.output_tokens
    assert last.usage.output_tokens == 576
    assert bytes_of(last) == bytes_of(client.images.generate(**fields).data[0])


def test_a_stream_of_two_pictures_says_whose_each_event_is(client):
    events = list(client.images.generate(prompt="x", n=2, stream=True, partial_images=1))
    done = [event for event in events if event.type == "image_generation.completed"]
    assert sorted(event.index for event in done) == [0, 1] and len(events) == 4
    assert sum(event.usage.output_tokens for event in done) == 2 * 576


@pytest.mark.parametrize("fields, param, words", [
    ({"size": "1024x1024"}, "size", "384x384 or auto"),
    ({"n": 9}, "n", "from 1 to 8"),
    ({"response_format": "url"}, "response_format", "b64_json"),
    ({"model": "scripted"}, "model", 'ask "Janus-Pro-1B"'),
    ({"quality": "hd"}, "quality", "auto or standard"),
    ({"style": "vivid"}, "style", "not supported"),
    ({"background": "transparent"}, "background", "opaque"),
    ({"output_format": "webp"}, "output_format", "png"),
    ({"partial_images": 2}, "partial_images", "stream")])
def test_what_cannot_be_drawn_is_a_400_with_the_reason(client, fields, param, words):
    with pytest.raises(openai.BadRequestError) as error:
        client.images.generate(**{"prompt": "a lighthouse", **fields})
    assert error.value.status_code == 400 and error.value.param == param
    assert words in error.value.message


def test_an_aborted_drawing_stops_the_compute(client, scripted):
    stream = client.images.generate(prompt="/script sketch 6 at 2000/s; hold", stream=True,
                                    partial_images=3)
    assert next(iter(stream)).partial_image_index == 0
    assert scripted.metric("vllm:num_requests_running") == 1
    stream.close()
    for _ in range(3000):
        if scripted.metric("vllm:num_requests_running") == 0:
            return
        threading.Event().wait(0.02)
    raise AssertionError("it is still being drawn")


def test_an_engine_that_dies_is_an_error(client, scripted):
    with pytest.raises(openai.InternalServerError):
        client.images.generate(prompt="/script sketch 3 at 2000/s; die")
    assert servers.wait_for_model(scripted)


def test_pictures_of_a_chat_keep_their_places(client):
    content = [text("First:"), picture(SEA), text("then:"), picture(SUN), text("What are they?")]
    answer = client.chat.completions.create(model="janus",
                                            messages=[{"role": "user", "content": content}])
    words = answer.choices[0].message.content
    assert words.startswith("I see 2 pictures:")
    assert f"{len(SEA)} bytes after 6 of text" in words
    assert f"{len(SUN)} bytes after 11 of text" in words


def test_a_large_picture_is_taken_and_a_larger_one_is_not(client, scripted):
    large = pngs.START + bytes(15 << 20)
    answer = client.chat.completions.create(
        model="janus", messages=[{"role": "user", "content": [text("What?"), picture(large)]}])
    assert f"{len(large)} bytes" in answer.choices[0].message.content
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(model="janus", messages=[
            {"role": "user", "content": [picture(pngs.START + bytes(20 << 20))]}])
    assert error.value.code == "image_too_large"
    stranger = openai.OpenAI(api_key="sk-wrong", base_url=scripted.url + "/v1", max_retries=0)
    with pytest.raises((openai.APIStatusError, openai.APIConnectionError)) as error:
        stranger.chat.completions.create(model="janus", messages=[
            {"role": "user", "content": [text("What?"), picture(large)]}])
    assert getattr(error.value, "status_code", 413) == 413, "refused before it is read"


@pytest.mark.parametrize("url, words", [
    ("https://example.com/cat.png", "fetches nothing"),
    ("http://127.0.0.1:1/cat.png", "fetches nothing"),
    ("data:image/gif;base64,R0lGODlhAQABAAAAACw=", "PNG, JPEG or WebP"),
    ("data:image/png;base64,%%%%", "no whole base64"), ("cat.png", "must be data:image")])
def test_urls_that_are_no_pictures(client, url, words):
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(model="janus", messages=[
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])
    assert error.value.param == "messages[0].content[0].image_url"
    assert words in error.value.message


def test_a_model_that_cannot_see_names_one_that_does(client):
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(model="scripted", messages=[
            {"role": "user", "content": [text("What?"), picture(SEA)]}])
    assert "cannot see pictures" in error.value.message
    assert "Janus-Pro-1B" in error.value.message


def test_models_say_what_they_see_and_draw(client):
    models = {model.id: model for model in client.models.list()}
    assert models["scripted"].output_modalities == ["text"]
    assert models["Janus-Pro-1B"].input_modalities == ["text", "image"]
    assert models["Janus-Pro-1B"].image_size == "384x384"


def test_the_npm_client(scripted):
    done = subprocess.run(["node", "node_images.mjs", scripted.url, scripted.key],
                          cwd=servers.ROOT / "tests" / "http", capture_output=True, text=True,
                          input=url_of(SEA), timeout=150)
    assert done.returncode == 0, done.stderr
    cases = {line["case"]: line for line in map(json.loads, done.stdout.splitlines())}

    def value(name):
        assert "value" in cases[name], cases[name]
        return cases[name]["value"]

    plain, stream = value("generate"), value("stream")
    assert [pngs.read(base64.b64decode(data))[:2] for data in plain["data"]] == [(384, 384)] * 2
    assert stream["types"] == ["image_generation.partial_image"] * 2 + [
        "image_generation.completed"]
    assert stream["last"] == plain["data"][0] and stream["usage"]["output_tokens"] == 576
    assert f"{len(SEA)} bytes" in value("vision")
    for name, param in (("size", "size"), ("n", "n"), ("blind", "messages[0].content"),
                        ("no drawer", "model")):
        error = cases[name]["error"]
        assert (error["status"], error["param"]) == (400, param), error


# ---- a tiny Janus ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def janus():
    with servers.temporary_folder() as folder:
        server = servers.start_nautile(folder, model=str(JANUS))
        server.folder = pathlib.Path(folder)
        yield server
        server.stop()


def side_of(janus):
    size = janus.get("/v1/models").json()["data"][0]["image_size"]
    return int(size.split("x")[0])


@pytest.mark.real_engine
def test_a_seed_is_a_picture(janus):
    client, side = client_of(janus), side_of(janus)

    def draw(seed, n=1, **fields):
        answer = client.images.generate(prompt="a ship", n=n, extra_body={"seed": seed, **fields})
        return [bytes_of(image) for image in answer.data]

    first = draw(5)
    assert pngs.read(first[0])[:2] == (side, side)
    assert first == draw(5) and first != draw(6)
    assert draw(4, n=3)[1] == first[0], "the same picture whatever is drawn beside it"
    assert draw(5, guidance=1.5) != first
    texts = b"".join(data for name, data in pngs.chunks(first[0]) if name in (b"tEXt", b"iTXt"))
    assert b"a ship" in texts and b"5" in texts


@pytest.mark.real_engine
def test_a_real_stream_ends_with_the_same_picture(janus):
    client, side = client_of(janus), side_of(janus)
    fields = {"prompt": "a ship", "extra_body": {"seed": 9}}
    events = list(client.images.generate(stream=True, partial_images=2, **fields))
    assert [event.type for event in events] == ["image_generation.partial_image"] * 2 + [
        "image_generation.completed"]
    assert all(pngs.read(bytes_of(event))[:2] == (side, side) for event in events)
    assert bytes_of(events[-1]) == bytes_of(client.images.generate(**fields).data[0])


@pytest.mark.real_engine
def test_a_tiny_janus_is_asked_about_pictures(janus):
    client = client_of(janus)

    def ask(*content):
        return client.chat.completions.create(
            model=janus.model, max_tokens=6, temperature=0,
            messages=[{"role": "user", "content": list(content)}])

    plain = ask(text("what is in the sea?"))
    one = ask(picture(SEA), text("what is in the sea?"))
    two = ask(picture(SEA), text("what is in "), picture(SUN), text("the sea?"))
    assert one.choices[0].message.content == ask(
        picture(SEA), text("what is in the sea?")).choices[0].message.content
    more = one.usage.prompt_tokens - plain.usage.prompt_tokens
    assert more > 1 and two.usage.prompt_tokens - plain.usage.prompt_tokens >= 2 * (more - 1)
    with pytest.raises(openai.BadRequestError):
        ask(picture(pngs.START + b"no more of it"), text("what?"))
    assert ask(picture(SEA), text("what is in the sea?")).choices[0].message.content == (
        one.choices[0].message.content), "a bad picture costs nobody else anything"


@pytest.mark.real_engine
def test_a_reader_of_pictures_that_is_killed_is_replaced(janus):
    client = client_of(janus)

    def reader():
        return json.loads((janus.folder / "running.json").read_text())["pictures"]["pid"]

    def ask(colour):
        png = pngs.make(8, 8, lambda x, y: (colour, x, y))
        return client.chat.completions.create(
            model=janus.model, max_tokens=2, temperature=0,
            messages=[{"role": "user", "content": [picture(png), text("what?")]}])

    assert ask(1).choices
    killed = reader()
    os.kill(killed, signal.SIGKILL)
    try:
        assert ask(2).choices
    except openai.InternalServerError as error:
        assert error.status_code == 503, "one clear error at most"
    assert ask(3).choices
    assert reader() != killed


@pytest.fixture
def home(tmp_path):
    (tmp_path / "models").mkdir()
    return tmp_path


@pytest.mark.real_engine
def test_the_command_line_draws_the_same(janus, home):
    client = client_of(janus)
    png = home / "ship.png"
    codes = home / "ship.json"
    done = nautile("image", str(JANUS), "a", "ship", "--seed", "5", "-o", str(png), "--codes-out",
                   str(codes), home=home)
    assert done.returncode == 0, done.stderr
    assert str(png) in done.stdout and "5" in done.stdout
    answer = client.images.generate(prompt="a ship", extra_body={"seed": 5})
    assert png.read_bytes() == bytes_of(answer.data[0])
    grid = json.loads(codes.read_text())
    assert len(grid) == answer.usage.output_tokens and all(isinstance(code, int) for code in grid)
    again = home / "again.png"
    done = nautile("image", str(JANUS), "--codes", str(codes), "-o", str(again), home=home)
    assert done.returncode == 0, done.stderr
    assert pngs.read(again.read_bytes()) == pngs.read(png.read_bytes())
    done = nautile("image", str(JANUS), "a ship", "--n", "2", "--seed", "5", "--json", "-o",
                   str(png), home=home)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [one["seed"] for one in report["pictures"]] == [5, 6]
    assert (home / "ship-1.png").read_bytes() == png.read_bytes()
    assert (home / "ship-2.png").exists()
    piped = nautile("image", str(JANUS), "-", "--seed", "5", "-o", "-", home=home, stdin=b"a ship")
    assert piped.raw == png.read_bytes()


@pytest.mark.real_engine
def test_run_looks_at_pictures(home):
    files = [home / "sea.png", home / "sun.png"]
    for path, data in zip(files, (SEA, SUN)):
        path.write_bytes(data)
    fixed = ("--temp", "0", "--max-tokens", "4", "--json")
    plain = json.loads(nautile("run", str(JANUS), "what?", *fixed, home=home).stdout)
    one = nautile("run", str(JANUS), "what?", "--image", str(files[0]), *fixed, home=home)
    assert one.returncode == 0, one.stderr
    two = nautile("run", str(JANUS), "what?", "--image", str(files[0]), "--image", str(files[1]),
                  *fixed, home=home)
    counts = [json.loads(done)["prompt_tokens"] for done in (one.stdout, two.stdout)]
    assert plain["prompt_tokens"] < counts[0] < counts[1]
    files[0].write_bytes(b"no picture")
    assert_refused(nautile("run", str(JANUS), "what?", "--image", str(files[0]), home=home), 3)


@pytest.mark.real_engine
def test_what_the_command_line_refuses(home):
    starter = servers.starter_model()
    (home / "codes.json").write_text("[]")
    (home / "sea.png").write_bytes(SEA)
    cases = [
        (("image", starter, "a ship", "-o", str(home / "x.png")), 3, "cannot draw"),
        (("image", str(JANUS), " "), 2, "empty"),
        (("image", str(JANUS), "x", "--n", "9"), 2, "--n"),
        (("image", str(JANUS), "x", "--codes", str(home / "codes.json")), 2, "exclude"),
        (("image", str(JANUS), "--codes", str(home / "codes.json")), 3, "no codes"),
        (("image", str(JANUS), "x", "-o", str(home / "nowhere" / "x.png")), 1, "cannot write"),
        (("image", str(JANUS), "x", "-o", str(home)), 2, "directory"),
        (("image", str(JANUS), "x", "-o", str(home / "x.JPG")), 2, "would be a PNG"),
        (("run", starter, "x", "--image", str(home / "sea.png")), 3, "cannot see"),
        (("run", starter, "x", "--image", str(home / "none.png")), 1, "cannot open")]
    for arguments, code, words in cases:
        assert_refused(nautile(*arguments, home=home), code, words)
        french = nautile(*arguments, home=home, NAUTILE_LANGUAGE="fr").stderr
        assert "Que faire" in french and words not in french.replace("--n", ""), french


@pytest.mark.real_engine
def test_a_full_disk_is_said_with_the_seed(home):
    done = nautile("image", str(JANUS), "a ship", "--seed", "5", "-o", "/dev/full", home=home)
    assert_refused(done, 4, "/dev/full", "No space left", "--seed 5")


@pytest.mark.real_engine
def test_codes_without_room_do_not_cost_the_picture(home):
    done = nautile("image", str(JANUS), "a ship", "--seed", "5", "-o", str(home / "ship.png"),
                   "--codes-out", "/dev/full", home=home)
    assert_refused(done, 4, "/dev/full", "the picture itself is written", "--codes-out")
    assert (home / "ship.png").read_bytes().startswith(b"\x89PNG")


# ---- Ctrl-C ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slow_janus(tmp_path_factory):
    """The tiny Janus with 128 layers: its own two in turn, each step 64 times as long."""
    layers, folder = 128, tmp_path_factory.mktemp("slow") / "janus"
    folder.mkdir()
    for path in JANUS.glob("*.json"):
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((JANUS / "config.json").read_text())
    config["text_config"]["num_hidden_layers"] = layers
    (folder / "config.json").write_text(json.dumps(config))
    data = (JANUS / "model.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    header, out, body = json.loads(data[8:8 + size]), {}, bytearray()

    def add(name, tensor):
        begin, end = tensor["data_offsets"]
        out[name] = {**tensor, "data_offsets": [len(body), len(body) + end - begin]}
        body.extend(data[8 + size + begin:8 + size + end])

    prefix = "model.language_model.layers."
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        if not name.startswith(prefix):
            add(name, tensor)
            continue
        own, rest = name[len(prefix):].split(".", 1)
        for layer in range(int(own), layers, 2):
            add(f"{prefix}{layer}.{rest}", tensor)
    head = json.dumps(out).encode()
    head += b" " * (-len(head) % 8)
    (folder / "model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + body)
    return folder


def started(home, *arguments, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL):
    """In a session of its own, as from a shell, so that Ctrl-C can go to all of it."""
    return subprocess.Popen(
        [servers.program("nautile"), *map(str, arguments)], stdin=stdin, stdout=subprocess.PIPE,
        stderr=stderr, start_new_session=True,
        env={**os.environ, "NAUTILE_LANGUAGE": "en", "NAUTILE_HOME": str(home)})


def interrupted(process):
    """As a terminal does it: to every process of the group. What came on stdout and stderr."""
    os.killpg(process.pid, signal.SIGINT)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 130, (process.returncode, errors)
    return out.decode(), (errors or b"").decode()


def files_of(home):
    return sorted(path.name for path in home.iterdir() if path.is_file())


SLOW = ("--isa", "scalar", "--threads", "1", "--exact")


@pytest.mark.real_engine
def test_a_drawing_that_is_interrupted_leaves_nothing_half_written(slow_janus, home):
    """In the middle of the codes: as soon as the first row is said to be drawn."""
    terminal, other = pty.openpty()
    process = started(home, "image", slow_janus, "a ship", "--seed", "5", "--n", "3", "-o",
                      home / "ship.png", "--codes-out", home / "ship.json", *SLOW, stderr=other)
    os.close(other)
    said = b""
    while b"row 1 of 6" not in said:
        said += os.read(terminal, 4096)
    os.killpg(process.pid, signal.SIGINT)
    while True:
        try:
            more = os.read(terminal, 4096)
        except OSError:  # the other end is closed: the program has ended
            break
        if not more:
            break
        said += more
    out = process.communicate(timeout=120)[0]
    os.close(terminal)
    assert process.returncode == 130
    assert b"row 6 of 6" not in said, "it went on to the end"
    assert out == b"" and files_of(home) == []
    assert b"0 of 3" in said and b"--seed 5" in said


@pytest.mark.real_engine
def test_pictures_that_were_saved_before_an_interrupt_are_kept_and_counted(home):
    """After the first of six: each takes a while to decode, and the signal comes between."""
    whole = nautile("image", str(JANUS), "a ship", "--seed", "5", *SLOW, "-o",
                    str(home / "whole.png"), home=home)
    assert whole.returncode == 0, whole.stderr
    process = started(home, "image", JANUS, "a ship", "--seed", "5", "--n", "6", "-o",
                      home / "ship.png", "--codes-out", home / "ship.json", *SLOW)
    first = process.stdout.readline().decode()
    assert str(home / "ship-") in first
    out, errors = interrupted(process)
    saved = [line.split("  ")[0] for line in (first + out).splitlines()]
    assert 1 <= len(saved) < 6 and f"{len(saved)} of 6" in errors and "--seed" in errors
    names = {pathlib.Path(path).name for path in saved}
    codes = {name.replace(".png", ".json") for name in names}
    assert set(files_of(home)) == names | codes | {"whole.png"}, "nothing half-written is left"
    for path in saved:
        assert pngs.read(pathlib.Path(path).read_bytes())[:2] == (96, 96)
    for name in codes:
        assert len(json.loads((home / name).read_text())) == 36
    if "ship-1.png" in names:
        assert (home / "ship-1.png").read_bytes() == (home / "whole.png").read_bytes()


def waiting_for_its_input(process):
    """Returns once the program has read from stdin: more is written than a pipe holds."""
    fcntl.fcntl(process.stdin.fileno(), fcntl.F_SETPIPE_SZ, 4096)
    process.stdin.write(b"a ship " * 2000)
    process.stdin.flush()


@pytest.mark.real_engine
@pytest.mark.parametrize("verb", ["image", "embed", "run"])
def test_an_interrupt_before_there_is_anything_to_keep_says_so(verb, home):
    arguments = {"image": (JANUS, "-", "-o", home / "ship.png"),
                 "embed": (JANUS, "--image", "-", "--out", home / "ship.f32"),
                 "run": (JANUS, "-", "--image", home / "sea.png")}[verb]
    (home / "sea.png").write_bytes(SEA)
    process = started(home, verb, *arguments, stdin=subprocess.PIPE)
    waiting_for_its_input(process)
    out, errors = interrupted(process)
    assert out == "" and "Nothing was written" in errors
    assert files_of(home) == ["sea.png"]


@pytest.mark.real_engine
def test_an_answer_about_a_picture_that_is_interrupted_keeps_its_words(slow_janus, home):
    (home / "sea.png").write_bytes(SEA)
    process = started(home, "run", slow_janus, "what?", "--image", home / "sea.png", "--temp", "0",
                      "--max-tokens", "800", "--ignore-eos", *SLOW)
    first = process.stdout.read(1)
    assert first
    out, errors = interrupted(process)
    assert "Stopped by you" in errors and len(out) < 800


def test_show_counts_what_sees_and_draws(tmp_path):
    shown = json.loads(nautile("show", str(JANUS), "--json", home=tmp_path).stdout)
    # The program and the features that are kept take 64 MiB each, whatever the model's size.
    assert shown["memory_bytes_for_8k_context"] > 128 << 20
