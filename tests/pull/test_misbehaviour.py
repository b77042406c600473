"""Everything that a hub, a network or a disk can do wrong ends in the right file or in an error of
three parts; never in a wrong file with its final name, and never outside the models directory."""
import json
import os
import random
import resource
import signal
import threading

import pytest

from hub_server import REPO, Reply, sha256

DATA = random.Random(3).randbytes(2_500_000)
OTHER = random.Random(4).randbytes(2_500_000)
NAME = "R1-Q4_K_M.gguf"


@pytest.fixture
def hub(make_hub, home):
    made = make_hub({NAME: DATA})
    home.endpoint = made.url
    return made


def is_file(reply):
    return reply.is_file


def assert_right(home, done, data=DATA):
    assert done.returncode == 0, done.stderr
    assert (home.models / NAME).read_bytes() == data
    assert home.leftovers() == []


def assert_refused(home, done, code, *words):
    assert done.returncode == code, (done.returncode, done.stderr)
    for word in (*words, "nautile: ", "What to do: "):
        assert word in done.stderr, done.stderr
    assert not (home.models / NAME).exists()


class Once:
    """Calls a change for the first `times` replies that carry bytes of a file."""

    def __init__(self, change, times=1):
        self.change, self.left, self.lock = change, times, threading.Lock()

    def __call__(self, request, reply):
        with self.lock:
            if not reply.is_file or self.left == 0:
                return None
            self.left -= 1
        return self.change(request, reply)


# ---- the network ---------------------------------------------------------------------------------

def test_connections_that_break_are_continued(home, hub):
    def cut(request, reply):
        reply.cut_after = 50_000 if len(reply.body) > 50_000 else None
        return reply
    hub.change = Once(cut, times=1000)
    assert_right(home, home.pull(f"hf:{REPO}"))
    assert hub.file_bytes_sent == len(DATA)  # what had come was not asked for again


def test_connections_that_break_at_once_end_in_an_error(home, hub):
    def cut(request, reply):
        reply.cut_after = 0
        return reply
    hub.change = Once(cut, times=10**6)
    assert_refused(home, home.pull(f"hf:{REPO}"), 5, "cut the transfer")
    hub.change = lambda request, reply: None
    assert_right(home, home.pull(f"hf:{REPO}"))


def test_a_stalled_connection_is_made_anew(home, hub):
    def stall(request, reply):
        reply.stall_after = 1000
        return reply
    hub.change = Once(stall)
    assert_right(home, home.pull(f"hf:{REPO}", "--stall-timeout", "1"))


def test_nobody_there(home):
    home.endpoint = "http://127.0.0.1:9"
    assert_refused(home, home.pull(f"hf:{REPO}", "--retries", "0"), 5, "cannot be reached")


def test_busy_servers_are_asked_again(home, hub):
    hub.change = Once(lambda request, reply: Reply(429, [("retry-after", "1")]))
    assert_right(home, home.pull(f"hf:{REPO}"))


def test_a_long_ban_is_told_and_not_waited_for(home, hub):
    hub.change = Once(lambda request, reply: Reply(429, [("retry-after", "7200")]), times=10**6)
    assert_refused(home, home.pull(f"hf:{REPO}"), 5, "429", "121 minutes")


@pytest.mark.parametrize("status, code, word", [(401, 5, "HF_TOKEN"), (403, 5, "licence"),
                                                (404, 1, "there is no"), (500, 5, "500"),
                                                (451, 5, "451")])
def test_refusals_are_explained(home, hub, status, code, word):
    hub.change = lambda request, reply: Reply(status)
    assert_refused(home, home.pull(f"hf:{REPO}:{NAME}", "--retries", "0"), code, word)


# ---- ranges --------------------------------------------------------------------------------------

def test_a_server_without_ranges(home, hub):
    hub.ranges = False
    assert_right(home, home.pull(f"hf:{REPO}"))


def test_a_server_without_ranges_that_breaks_off(home, hub):
    hub.ranges = False
    steps = iter([300_000, 900_000, 2_000_000])

    def cut(request, reply):
        reply.cut_after = next(steps, None)
        return reply
    # The first connections find out that there are no ranges; they read no body.
    hub.change = lambda request, reply: (
        Once(cut)(request, reply) if request.range is None else None)
    assert_right(home, home.pull(f"hf:{REPO}"))


@pytest.mark.parametrize("lie", ["other range", "no range", "longer range", "long body",
                                 "short length", "endless chunks"])
def test_lies_about_ranges(home, hub, lie):
    def change(request, reply):
        first, last = request.range
        total = len(DATA)
        body = bytes(reply.body)
        if lie == "other range":
            return Reply(206, [("content-range", f"bytes {first + 1}-{last + 1}/{total + 9}")],
                         body)
        if lie == "no range":
            return Reply(206, [], body)
        if lie == "longer range":
            return Reply(206, [("content-range", f"bytes {first}-{last + 1}/{total + 9}")],
                         body + b"x")
        if lie == "long body":
            return Reply(206, [("content-range", f"bytes {first}-{last}/{total}")], body + b"xyz")
        if lie == "short length":
            return Reply(206, [("content-range", f"bytes {first}-{last}/{total}")], body[:-5])
        return Reply(206, [("content-range", f"bytes {first}-{last}/{total}")], body + b"xyz",
                     chunked=True)
    hub.change = Once(change, times=10**6)
    assert_refused(home, home.pull(f"hf:{REPO}"), 3, "not to be trusted")


def test_a_range_in_smaller_parts_is_fine(home, hub):
    def part(request, reply):
        first, last = request.range
        last = min(last, first + 40_000)
        return Reply(206, [("content-range", f"bytes {first}-{last}/{len(DATA)}")],
                     DATA[first:last + 1], is_file=True)
    hub.change = Once(part, times=10**6)
    assert_right(home, home.pull(f"hf:{REPO}"))
    assert hub.file_bytes_sent == len(DATA)


def test_chunked_answers_are_fine(home, hub):
    def chunked(request, reply):
        reply.chunked = True
        return reply
    hub.change = Once(chunked, times=10**6)
    assert_right(home, home.pull(f"hf:{REPO}"))


# ---- content -------------------------------------------------------------------------------------

def test_another_content_than_promised_is_thrown_away(home, hub):
    wrong = sha256(OTHER)
    hub.change = lambda request, reply: (
        Reply(200, [("x-linked-size", len(DATA)), ("x-linked-etag", f'"{wrong}"')])
        if request.method == "HEAD" else None)
    done = home.pull(f"hf:{REPO}:{NAME}")
    assert_refused(home, done, 3, "not what was promised", wrong, sha256(DATA))
    assert home.leftovers() == []


def test_a_file_that_changes_is_fetched_in_its_new_form(home, hub):
    asked = threading.Event()

    def swap(request):
        if request.range and not asked.is_set() and hub.file_bytes_sent > len(DATA) // 3:
            asked.set()
            hub.files[NAME] = OTHER[:-77]
    hub.before = swap
    assert_right(home, home.pull(f"hf:{REPO}"), OTHER[:-77])


def test_a_file_that_changes_without_changing_its_size(home, hub):
    def swap(request):
        if request.range and hub.file_bytes_sent > len(DATA) // 3:
            hub.files[NAME] = OTHER
    hub.before = swap
    assert_right(home, home.pull(f"hf:{REPO}"), OTHER)


def test_a_mark_that_differs_from_server_to_server_is_only_a_mark(home, hub):
    numbers = iter(range(10**6))

    def other_mark(request, reply):
        reply.headers[0] = ("etag", f'"{next(numbers)}"')
        return reply
    hub.change = Once(other_mark, times=10**6)
    assert_right(home, home.pull(f"hf:{REPO}"))


def test_a_file_that_changes_all_the_time_is_given_up(home, hub):
    rounds = iter(range(10**6))

    def swap(request):
        if request.range:
            hub.files[NAME] = random.Random(next(rounds)).randbytes(2_000_000)
    hub.before = swap
    assert_refused(home, home.pull(f"hf:{REPO}"), 5, "changed while it was fetched")


def test_compressed_answers_are_refused(home, hub):
    def compressed(request, reply):
        reply.headers.append(("content-encoding", "gzip"))
        return reply
    hub.change = Once(compressed, times=10**6)
    assert_refused(home, home.pull(f"hf:{REPO}"), 3, "compressed")


# ---- redirects -----------------------------------------------------------------------------------

def test_an_address_that_expires_is_asked_for_again(home, make_hub):
    cdn = make_hub({NAME: DATA})
    hub = make_hub({NAME: DATA}, cdn=cdn)
    home.endpoint = hub.url
    uses = {}

    def expiring(request, reply):
        with cdn.lock:
            uses[request.target] = uses.get(request.target, 0) + 1
        return Reply(403, body=b"expired") if uses[request.target] > 3 else None
    signatures = iter(range(10**6))
    cdn.change = expiring
    hub.change = lambda request, reply: (
        Reply(302, [*reply.headers[:-1],
                    ("location", f"{cdn.url}/cdn/{NAME}?s={next(signatures)}")])
        if reply.status == 302 else None)
    assert_right(home, home.pull(f"hf:{REPO}"))
    assert len(uses) > 3


def test_redirects_in_a_circle(home, hub):
    hub.change = lambda request, reply: (
        Reply(302, [("location", request.target)]) if "/resolve/" in request.path else None)
    assert_refused(home, home.pull(f"hf:{REPO}"), 3, "redirects more than")


@pytest.mark.parametrize("location", ["", "ftp://127.0.0.1/x", "file:///etc/passwd", "http://a b/",
                                      "javascript:1", "http://127.0.0.1:99999/"])
def test_redirects_to_nowhere(home, hub, location):
    hub.change = lambda request, reply: Reply(302, [("location", location)]) if is_file(
        reply) else None
    assert_refused(home, home.pull(f"hf:{REPO}"), 3, "redirects to no acceptable address")


# ---- answers that are none -----------------------------------------------------------------------

@pytest.mark.parametrize("raw", [
    b"", b"\0" * 5000, b"<html>hello</html>", b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000,
    b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 5000 + b"\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 206 OK\r\ncontent-length: 99999999999999999999\r\n\r\n"])
@pytest.mark.parametrize("where", ["/api/", "/resolve/"])
def test_garbage_for_an_answer(home, hub, raw, where):
    hub.change = lambda request, reply: Reply(raw=raw) if where in request.path else None
    done = home.pull(f"hf:{REPO}", "--retries", "1")
    assert done.returncode in (3, 5)
    assert_refused(home, done, done.returncode)


@pytest.mark.parametrize("tree", [
    b"", b"{}", b"[1]", b'[{"type":"file"}]', b"[" * 100_000, b'[{"type":"file","path":"a.gguf"}]',
    json.dumps([{"type": "file", "path": NAME, "size": -1, "oid": "0" * 40}]).encode(),
    json.dumps([{"type": "file", "path": NAME, "size": 1e300, "oid": "0" * 40}]).encode(),
    json.dumps([{"type": "file", "path": NAME, "size": 5, "oid": "../../x"}]).encode(),
    json.dumps([{"type": "file", "path": NAME, "size": 5,
                 "lfs": {"oid": "../../../etc/passwd", "size": 5}}]).encode()])
def test_garbage_for_a_file_list(home, hub, tree):
    hub.change = lambda request, reply: Reply(body=tree) if "/tree/" in request.path else None
    assert_refused(home, home.pull(f"hf:{REPO}"), 3, "file list")


@pytest.mark.parametrize("path", ["../../evil.gguf", "/etc/evil.gguf", "a/../../evil.gguf",
                                  "..\\evil.gguf", "a//evil.gguf", "evil\x00.gguf", "evil\n.gguf",
                                  "./evil.gguf", "a" * 300 + ".gguf"])
def test_names_that_lead_out_are_refused(home, hub, path):
    entry = {"type": "file", "path": path, "size": len(DATA),
             "lfs": {"oid": sha256(DATA), "size": len(DATA)}}
    hub.change = lambda request, reply: (
        Reply(body=json.dumps([entry]).encode()) if "/tree/" in request.path else None)
    assert_refused(home, home.pull(f"hf:{REPO}"), 3, "no acceptable file name")
    assert [path for path in home.folder.parent.rglob("*evil*")] == []


@pytest.mark.parametrize("digest", ["sha256:../../../../etc/passwd", "sha256:" + "0" * 63,
                                    "sha512:" + "0" * 64, "sha256:" + "A" * 64, "", 5, None])
def test_digests_that_are_none_are_refused(home, hub, digest):
    layer = {"mediaType": "application/vnd.ollama.image.model", "size": 5, "digest": digest}
    hub.change = lambda request, reply: Reply(body=json.dumps({"layers": [layer]}).encode())
    assert_refused(home, home.pull("ollama:x"), 3, "manifest")


@pytest.mark.parametrize("layers, word", [([], "no layer"), (["tensor"], "tensor"),
                                          (["model", "model"], "several"),
                                          (["model", "adapter"], "adapter")])
def test_manifests_that_are_no_single_file(home, hub, layers, word):
    body = {"layers": [{"mediaType": "application/vnd.ollama.image." + kind, "size": 5,
                        "digest": "sha256:" + sha256(kind.encode())} for kind in layers]}
    hub.change = lambda request, reply: Reply(body=json.dumps(body).encode())
    assert_refused(home, home.pull("ollama:x"), 3, word)


def test_pages_that_lead_to_another_host(home, hub, make_hub):
    stranger = make_hub()
    hub.page_files = 1
    hub.files["z.gguf"] = b"z"

    def lead_away(request, reply):
        if "/tree/" in request.path:
            reply.headers = [("link", f'<{stranger.url}/x>; rel="next"')]
            return reply
        return None
    hub.change = lead_away
    assert_refused(home, home.pull(f"hf:{REPO}"), 3, "file list")
    assert stranger.requests == []


# ---- the disk, and others on it ------------------------------------------------------------------

def test_too_little_room_is_said_before_anything_is_fetched(home, hub):
    size = 1 << 46
    hub.change = lambda request, reply: (
        Reply(200, [("x-linked-size", size), ("x-linked-etag", f'"{sha256(DATA)}"')])
        if request.method == "HEAD" else None)
    assert_refused(home, home.pull(f"hf:{REPO}:{NAME}"), 4, "65536.06 GiB are needed", "are free")
    assert hub.file_bytes_sent == 0 and home.leftovers() == []


def test_a_limit_on_file_sizes_is_an_error_and_not_a_signal(home, hub):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    done = home.pull(f"hf:{REPO}", preexec_fn=limit)
    assert_refused(home, done, 4, "quota or size limit")
    assert_right(home, home.pull(f"hf:{REPO}"))


def test_two_pulls_of_the_same_file(home, hub):
    reached, free = threading.Event(), threading.Event()

    def hold(request):
        if request.range and hub.file_bytes_sent > 500_000:
            reached.set()
            free.wait(60)
    hub.before = hold
    first = home.start("pull", f"hf:{REPO}")
    assert reached.wait(60)
    second = home.pull(f"hf:{REPO}")
    assert second.returncode == 5 and "another pull is fetching" in second.stderr
    assert "What to do" in second.stderr
    free.set()
    assert first.wait(60) == 0
    assert (home.models / NAME).read_bytes() == DATA and home.leftovers() == []


def test_ctrl_c_stops_and_the_same_command_goes_on(home, hub):
    connections = 4
    held, free = threading.Semaphore(0), threading.Event()

    def hold(request):
        if request.range and hub.file_bytes_sent > 1_000_000:
            held.release()
            free.wait(60)
    hub.before = hold
    process = home.start("pull", f"hf:{REPO}", "--connections", str(connections))
    for _ in range(connections):  # each has taken what was sent before it asks for more
        assert held.acquire(timeout=60)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    free.set()
    assert process.returncode == 130 and "goes on from here" in said
    hub.before = lambda request: None
    sent = hub.file_bytes_sent
    assert_right(home, home.pull(f"hf:{REPO}"))
    assert hub.file_bytes_sent - sent < len(DATA) - 900_000


def unfinished(home, hub):
    """Leaves all but the last pieces on the disk."""
    def cut(request, reply):
        if reply.is_file and request.range and request.range[0] >= 2_000_000:
            reply.cut_after = 0
            return reply
        return None
    hub.change = cut
    assert home.pull(f"hf:{REPO}", "--connections", "1", "--retries", "0").returncode == 5
    hub.change = lambda request, reply: None
    hub.file_bytes_sent = 0
    return home.models / (NAME + ".partial"), home.models / (NAME + ".partial.progress")


def test_a_piece_that_the_disk_lost_is_fetched_again_alone(home, hub):
    partial, _ = unfinished(home, hub)
    with open(partial, "r+b") as file:
        file.seek(700_000)
        file.write(b"\0" * 10)
    done = home.pull(f"hf:{REPO}", "--json")
    assert_right(home, done)
    assert json.loads(done.stdout.splitlines()[-1])["pieces_again"] == 1
    missing = len(DATA) - 2_000_000 // (128 * 1024) * (128 * 1024)
    assert hub.file_bytes_sent <= missing + 2 * 128 * 1024


@pytest.mark.parametrize("harm", ["torn", "garbage tail", "garbage head", "empty", "gone",
                                  "short data", "no data"])
def test_progress_that_is_damaged_costs_time_and_never_truth(home, hub, harm):
    partial, progress = unfinished(home, hub)
    text = progress.read_bytes()
    noise = random.Random(5).randbytes(480)
    if harm == "torn":
        progress.write_bytes(text[:-13])
    elif harm == "garbage tail":
        progress.write_bytes(text[:-48] + noise)
    elif harm == "garbage head":
        progress.write_bytes(noise + text[480:])
    elif harm == "empty":
        progress.write_bytes(b"")
    elif harm == "gone":
        progress.unlink()
    elif harm == "short data":
        os.truncate(partial, 100_000)
    else:
        partial.unlink()
    assert_right(home, home.pull(f"hf:{REPO}"))


def test_progress_of_another_file_is_not_used(home, hub):
    unfinished(home, hub)
    hub.files[NAME] = OTHER
    assert_right(home, home.pull(f"hf:{REPO}"), OTHER)


def test_nothing_but_the_endpoint_is_asked(home, make_hub):
    """The hub's own list is all that a listing asks, and it asks nothing without being told to."""
    hub = make_hub()
    home.endpoint = hub.url
    for verb in (["list"], ["list", "--catalogue"], ["pull", "--help"], ["config"]):
        process = home.start(*verb)
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert hub.requests == []
