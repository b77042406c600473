"""A model that the owner fetches from the page: the real server, its gate and its puller, against a
hub of ours. Nothing sleeps: every wait is for an event with a deadline."""
import http.client
import json
import os
import pathlib
import queue
import random
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from conftest import BINARY
from hub_server import HubServer, sha256
from processes import alive, open_files

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "http"))
import scripted_model  # noqa: E402

REPO = "unsloth/DeepSeek-R1-Distill-Qwen-1.5B-GGUF"  # of the catalogue
NAME = "DeepSeek-R1-Distill-Qwen-1.5B-Q4_K_M.gguf"
MODEL = "DeepSeek-R1-Distill-Qwen-1.5B-Q4_K_M"
WISH = "r1-1.5b"
WAIT_S = 60


class Site:
    """The server on a home, and its owner's browser."""

    def __init__(self, home, *flags):
        self.home = home
        home.models.mkdir(mode=0o700, exist_ok=True)
        self.flags = flags
        self.cookie = None
        self.start()

    def start(self):
        self.process = self.home.start("serve", "--listen", "127.0.0.1:0", "--log-level", "info",
                                       *self.flags)
        # Each reader keeps to its process: that of a killed one may end after the next start.
        self.lines, self.errors = queue.Queue(), []
        threading.Thread(target=self._read, args=(self.process.stdout, self.lines),
                         daemon=True).start()
        threading.Thread(target=self.errors.extend, args=(self.process.stderr,),
                         daemon=True).start()
        self.port = int(self.line(r"http://127\.0\.0\.1:(\d+)"))
        self.code = self.line(r": ([0-9A-Z]{4}-[0-9A-Z]{4})")
        if self.cookie is None:
            response, _ = self.ask("POST", "/site/setup", {"code": self.code, "mode": "just_me"})
            assert response.status == 200
            self.cookie = response.getheader("set-cookie").split(";")[0]

    @staticmethod
    def _read(stdout, lines):
        for line in stdout:
            lines.put(line)
        lines.put(None)

    def line(self, pattern):
        while (line := self.lines.get(timeout=WAIT_S)) is not None:
            if found := re.search(pattern, line):
                return found.group(1) if found.groups() else found.group(0)
        raise AssertionError(f"no line like {pattern}: {self.errors}")

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        headers = {"Content-Type": "application/json"}
        if self.cookie:
            headers["Cookie"] = self.cookie
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        data = response.read()
        connection.close()
        return response, json.loads(data) if data else None

    def get(self, path):
        response, json_body = self.ask("GET", path)
        assert response.status == 200, (response.status, json_body)
        return json_body

    def pull(self, reference):
        response, body = self.ask("POST", "/site/pulls", {"ref": reference})
        return response.status, body

    def current(self):
        return self.get("/site/pulls")["current"]

    def until(self, condition, what):
        """Polls the server, whose changes come from processes that cannot wake us."""
        end = time.monotonic() + WAIT_S
        waiter = threading.Event()
        while True:
            try:
                if value := condition():
                    return value
            except OSError:
                pass  # the gate is being started again
            if time.monotonic() > end:
                raise AssertionError(f"{what}: {self.current()} {self.errors}")
            waiter.wait(0.02)

    def until_state(self, *states):
        def reached():
            now = self.current()
            return now if now and now["state"] in states else None
        return self.until(reached, f"the state {states}")

    def models(self):
        return [model["id"] for model in self.get("/site/session")["models"]]

    def pid(self, name):
        return json.loads((self.home.folder / "running.json").read_text())[name]["pid"]

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(WAIT_S)


@pytest.fixture(scope="module")
def model_bytes(tmp_path_factory):
    """A small model that really runs."""
    path = tmp_path_factory.mktemp("model") / "model.gguf"
    scripted_model.families()["qwen"].write(path)
    return path.read_bytes()


@pytest.fixture
def large(model_bytes, hub):
    """The same, padded to a size whose pieces count: what is under way is a small part of it."""
    hub.files[NAME] = model_bytes + random.Random(7).randbytes(24_000_000)
    return hub.files[NAME]


@pytest.fixture
def hub(make_hub, model_bytes):
    return make_hub({NAME: model_bytes}, repo=REPO)


@pytest.fixture
def make_site(home):
    sites = []

    def make(*flags):
        sites.append(Site(home, *flags))
        return sites[-1]
    yield make
    for site in sites:
        site.stop(signal.SIGKILL)


def held(hub, after=0):
    """Holds every range of a file from `after` bytes on; returns (reached, free)."""
    reached, free = threading.Event(), threading.Event()

    def hold(request):
        if request.range and hub.file_bytes_sent >= after:
            reached.set()
            free.wait(WAIT_S)
    hub.before = hold
    return reached, free


def begun(home, hub, make_site, large):
    """A download of `large` that stands half-way; returns (site, free)."""
    home.endpoint = hub.url
    reached, free = held(hub, after=len(large) // 2)
    site = make_site()
    site.pull(WISH)
    assert reached.wait(WAIT_S)
    return site, free


def test_from_the_catalogue_to_an_answer(home, hub, make_site, model_bytes):
    home.endpoint = hub.url
    site = make_site()
    assert site.models() == []
    catalogue = site.get("/site/catalogue")
    rows = {row["short_name"]: row for row in catalogue["models"]}
    assert catalogue["allowed"] == "any" and catalogue["free_bytes"] > 0
    assert catalogue["bandwidth_gb_per_s"] > 0
    assert sum(row["proposed"] for row in rows.values()) == 1
    assert rows[WISH]["installed"] is None and rows[WISH]["tokens_per_s"] > 0
    assert not any(row["proposed"] for row in rows.values() if not row["runs"])
    assert site.pull(WISH)[0] == 202
    done = site.until_state("done", "failed")
    assert done["state"] == "done", done
    assert done["model"] == MODEL and done["bytes_here"] == done["bytes_total"] == len(model_bytes)
    assert (home.models / NAME).read_bytes() == model_bytes and home.leftovers() == []
    site.until(lambda: MODEL in site.models(), "the model in the list")
    rows = {row["short_name"]: row for row in site.get("/site/catalogue")["models"]}
    assert rows[WISH]["installed"] == MODEL
    response, answer = site.ask("POST", "/site/measure", {
        "model": MODEL, "path": [{"id": "0" * 32, "parent": None, "role": "user",
                                  "content": "hi", "created_unix_ms": 1}]})
    assert response.status == 200 and answer["tokens"] > 0
    log = "".join(site.errors)
    assert "pull.started" in log and "pull.ended" in log
    assert REPO not in log and WISH not in log, "the log holds no text"
    assert not (home.folder / "download.json").exists()
    assert site.pid("pull") == 0


def test_neither_gate_nor_engine_has_a_socket_to_the_network(home, hub, make_site):
    home.endpoint = hub.url
    reached, free = held(hub)
    site = make_site()
    site.pull(WISH)
    assert reached.wait(WAIT_S)
    puller = site.until(lambda: site.pid("pull"), "the puller's process")

    def connected(pid):
        files = open_files(pid)
        remote = f":{hub.port:04X} "
        table = pathlib.Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
        return any(remote in line and f"socket:[{line.split()[9]}]" in files for line in table)
    assert connected(puller), "the control: the one process that may"
    assert not connected(site.pid("gate")) and not connected(site.pid("engine"))
    free.set()
    site.until_state("done")


def test_paused_and_resumed_nothing_twice(home, hub, make_site, large):
    site, free = begun(home, hub, make_site, large)
    response, _ = site.ask("DELETE", "/site/pulls/current")
    assert response.status == 204
    paused = site.until_state("paused")
    assert paused["error"] is None
    free.set()
    hub.before = lambda request: None
    assert site.ask("DELETE", "/site/pulls/current")[0].status == 404
    assert site.pull(WISH)[0] == 202
    assert site.until_state("done", "failed")["state"] == "done"
    assert hub.file_bytes_sent <= 1.05 * len(large)


def test_the_puller_is_killed(home, hub, make_site, large):
    site, free = begun(home, hub, make_site, large)
    os.kill(site.pid("pull"), signal.SIGKILL)
    failed = site.until_state("failed")
    free.set()
    hub.before = lambda request: None
    assert failed["resumable"] and failed["error"]["kind"] == "interrupted"
    assert "signal 9" in failed["error"]["why"] and failed["error"]["next"]
    assert failed["error"]["fr"]["what"] != failed["error"]["what"]
    assert site.pull(failed["reference"])[0] == 202
    assert site.until_state("done", "failed")["state"] == "done"
    assert hub.file_bytes_sent <= 1.05 * len(large)
    assert sha256((home.models / NAME).read_bytes()) == sha256(large)


def test_the_gate_is_killed(home, hub, make_site):
    home.endpoint = hub.url
    reached, free = held(hub)
    site = make_site()
    site.pull(WISH)
    assert reached.wait(WAIT_S)
    before, puller = site.pid("gate"), site.pid("pull")
    os.kill(before, signal.SIGKILL)
    site.until(lambda: site.pid("gate") not in (0, before) and site.current(), "the next gate")
    assert site.current()["state"] in ("planning", "fetching")
    assert site.pid("pull") == puller, "the download did not notice"
    free.set()
    assert site.until_state("done", "failed")["state"] == "done"
    site.until(lambda: MODEL in site.models(), "the model in the list")


def test_one_that_has_ended_is_dismissed_for_good(home, hub, make_site, large):
    site, free = begun(home, hub, make_site, large)
    assert site.ask("DELETE", "/site/pulls/ended")[0].status == 404, "it runs"
    assert site.ask("DELETE", "/site/pulls/current")[0].status == 204
    site.until_state("paused")
    free.set()
    hub.before = lambda request: None
    assert site.ask("DELETE", "/site/pulls/ended")[0].status == 204
    site.until(lambda: site.current() is None, "nothing to be shown")
    site.stop(signal.SIGKILL)
    site.start()
    assert site.current() is None
    assert site.pull(WISH)[0] == 202
    assert site.until_state("done", "failed")["state"] == "done"
    assert hub.file_bytes_sent <= 1.05 * len(large), "its pieces were kept"


def test_the_whole_server_is_killed(home, hub, make_site, large):
    site, free = begun(home, hub, make_site, large)
    puller = site.pid("pull")
    site.until(lambda: site.current()["state"] == "fetching", "fetching")
    site.stop(signal.SIGKILL)
    site.until(lambda: not alive(puller), "the puller's end")
    free.set()
    hub.before = lambda request: None
    site.start()
    paused = site.until(site.current, "what was kept")
    assert paused["state"] == "paused" and paused["name"] == "DeepSeek-R1-Distill-Qwen-1.5B"
    assert site.pull(paused["reference"])[0] == 202
    assert site.until_state("done", "failed")["state"] == "done"
    assert hub.file_bytes_sent <= 1.05 * len(large)


def test_a_wrong_checksum_is_said_and_nothing_is_served(home, hub, make_site):
    home.endpoint = hub.url
    data = hub.files[NAME]

    def lie(request, reply):
        if request.range and reply.is_file:
            reply.body = b"\0" * len(reply.body)
    hub.change = lie
    site = make_site()
    site.pull(WISH)
    failed = site.until_state("failed")
    assert "is not what was promised" in failed["error"]["what"]
    assert "checksum" in failed["error"]["why"]
    assert "thrown away" in failed["error"]["next"]
    assert "n'est pas ce qui était promis" in failed["error"]["fr"]["what"]
    assert not (home.models / NAME).exists() and site.models() == []
    hub.change = lambda request, reply: None
    assert site.pull(WISH)[0] == 202
    assert site.until_state("done", "failed")["state"] == "done"
    assert (home.models / NAME).read_bytes() == data


def test_the_hub_is_not_there(home, make_site):
    site = make_site()
    site.pull(WISH)
    failed = site.until_state("failed")
    assert failed["error"]["kind"] == "unavailable" and "127.0.0.1:9" in failed["error"]["what"]
    assert "resume it" in failed["error"]["next"]


def test_no_room(home, hub, make_site):
    home.endpoint = hub.url
    usual = hub.tree
    hub.tree = lambda request: _with_size(usual(request), 1 << 44)
    site = make_site()
    site.pull(WISH)
    failed = site.until_state("failed")
    assert failed["error"]["kind"] == "out_of_disk", failed
    assert "GiB are needed" in failed["error"]["why"]
    assert home.leftovers() == []


def _with_size(reply, size):
    entries = json.loads(reply.body)
    for entry in entries:
        if entry["path"] == NAME:
            entry["size"] = size
            if "lfs" in entry:
                entry["lfs"]["size"] = size
    reply.body = json.dumps(entries).encode()
    return reply


def test_a_file_that_is_no_model_is_left_out_with_its_reason(home, make_hub, make_site):
    hub = make_hub({NAME: b"GGUF" + bytes(100_000)}, repo=REPO)
    home.endpoint = hub.url
    site = make_site()
    site.pull(WISH)
    failed = site.until_state("failed", "done")
    assert failed["state"] == "failed" and not failed["resumable"], failed
    assert failed["error"]["what"]
    unusable = site.until(lambda: site.get("/site/session")["unusable"], "the unusable ones")
    assert unusable[0]["id"] == MODEL and unusable[0]["error"]["what"]


def test_a_running_answer_is_not_cut(home, hub, make_site, model_bytes):
    """Another model answers while the download ends: the engine is exchanged afterwards."""
    home.endpoint = hub.url
    home.models.mkdir(mode=0o700)
    (home.models / "first.gguf").write_bytes(model_bytes)
    reached, free = held(hub)
    site = make_site()
    site.line(r"^Ready: ")
    key = (home.folder / "api-key").read_text().strip()
    engine = site.pid("engine")
    site.pull(WISH)
    assert reached.wait(WAIT_S)
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=WAIT_S)
    # The text ends by itself; asked to ignore that, it goes on as long as we let it.
    connection.request("POST", "/v1/completions", json.dumps(
        {"model": "first", "prompt": "a", "stream": True, "max_tokens": 15000,
         "ignore_eos": True}),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"})
    response = connection.getresponse()
    assert response.status == 200, response.read()
    assert response.readline()
    free.set()
    site.until_state("opening")
    assert site.pid("engine") == engine, "it still answers"
    assert site.models() == ["first"]
    connection.close()  # nobody listens any more: the answer ends
    assert site.until_state("done", "failed")["state"] == "done"
    assert site.pid("engine") != engine
    site.until(lambda: site.models() == ["first", MODEL], "both models")


def test_what_may_be_asked_for(home, hub, make_site):
    home.endpoint = hub.url
    reached, free = held(hub)
    site = make_site()
    for reference in ("file:/etc/passwd", "/etc/passwd", "http://127.0.0.1/x", "hf:x",
                      "hf:org/../x", "--from=/etc"):
        status, body = site.pull(reference)
        assert status == 400 and body["reason"] == "pull_reference", (reference, body)
    assert site.pull("x" * 300)[0] in (400, 422)
    assert site.current() is None
    assert site.pull(WISH)[0] == 202
    assert reached.wait(WAIT_S)
    assert site.pull(WISH)[0] == 202, "asked twice is asked once"
    status, body = site.pull("r1-7b")
    assert status == 409 and body["reason"] == "pull_busy"
    free.set()
    site.until_state("done")


def test_a_reference_besides_the_catalogue(home, make_hub, make_site, model_bytes):
    hub = make_hub({"Mine-Q8_0.gguf": model_bytes})
    home.endpoint = hub.url
    site = make_site()
    assert site.pull("hf:org/R1-GGUF")[0] == 202
    assert site.until_state("done", "failed")["model"] == "Mine-Q8_0"
    assert site.line(r"The page asked for (\S+):") == "hf:org/R1-GGUF"


@pytest.mark.parametrize("word, reason", [("off", "pull_off"), ("catalogue", "pull_outside")])
def test_the_setting(home, hub, make_site, word, reason):
    home.endpoint = hub.url
    site = make_site("--page-pull", word)
    status, body = site.pull("hf:org/R1-GGUF")
    assert status == 403 and body["reason"] == reason
    assert body["command"].startswith("nautile pull ")
    assert hub.requests == [], "nobody was asked"
    assert site.get("/site/catalogue")["allowed"] == word
    if word == "catalogue":
        assert site.pull(WISH)[0] == 202
        site.until_state("done")


def test_stopping_the_server_stops_the_download(home, hub, make_site):
    home.endpoint = hub.url
    reached, free = held(hub)
    site = make_site()
    site.pull(WISH)
    assert reached.wait(WAIT_S)
    puller = site.pid("pull")
    site.stop()
    free.set()
    assert site.process.returncode == 0
    assert not pathlib.Path(f"/proc/{puller}").exists()
    assert (home.folder / "download.json").exists(), "it can go on"


def test_the_terminal_lists_what_cannot_be_run(home):
    done = subprocess.run([BINARY, "list", "--catalogue"], env=home.environment(), text=True,
                          capture_output=True, timeout=WAIT_S)
    assert done.returncode == 0
    rows = [json.loads(line) for line in subprocess.run(
        [BINARY, "list", "--catalogue", "--json"], env=home.environment(), text=True,
        capture_output=True, timeout=WAIT_S).stdout.splitlines()]
    for row in rows:
        line = next(line for line in done.stdout.splitlines() if line.startswith(row["name"] + " "))
        assert ("cannot run it yet" in line) == (not row["runs"])
