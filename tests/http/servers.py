"""Starts the programs under test on free loopback ports and stops them again."""
import contextlib
import http.client
import json
import os
import pathlib
import queue
import re
import subprocess
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_SECONDS = 60


def program(name):
    """A built program: NAUTILE names the main one, the others stand beside it."""
    main = os.environ.get("NAUTILE")
    folder = os.environ.get("NAUTILE_BUILD") or (
        pathlib.Path(main).parent if main else ROOT / "build" / "check")
    path = pathlib.Path(main) if main and name == "nautile" else pathlib.Path(folder) / name
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there: build it first, or run ./check http")
    return str(path)


def starter_model():
    folder = pathlib.Path(os.environ.get("NAUTILE_FETCH_DIR") or ROOT / "build" / "fetched")
    found = sorted((folder / "starter").rglob("*.gguf"))
    if not found:
        raise FileNotFoundError(f"no starter model under {folder}: run tools/fetch.py starter")
    return str(found[0])


class Lines:
    """The lines that a program prints, read on a thread so that waiting has a limit."""

    def __init__(self, stream):
        self.queue = queue.Queue()
        self.all = []
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream):
        for line in stream:
            self.all.append(line)
            self.queue.put(line)
        self.queue.put(None)

    def wait_for(self, pattern, seconds=START_SECONDS):
        while True:
            line = self.queue.get(timeout=seconds)
            if line is None:
                raise RuntimeError(f"ended before it printed {pattern}: {''.join(self.all)}")
            found = re.search(pattern, line)
            if found:
                return found


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    def json(self):
        return json.loads(self.body)


class Server:
    """One running server: url, key, model, and plain HTTP to it."""

    def __init__(self, process, lines, port, key, model):
        self.process, self.lines, self.port, self.key, self.model = (
            process, lines, port, key, model)
        self.url = f"http://127.0.0.1:{port}"
        self.cookie = None

    def cpu_seconds(self):
        """What the program and its children have computed so far."""
        stats = {}
        for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = path.read_text().rpartition(")")[2].split()
                stats[int(path.parent.name)] = (int(fields[1]), int(fields[11]) + int(fields[12]))
        family = {self.process.pid}
        while grown := {pid for pid, (parent, _) in stats.items() if parent in family} - family:
            family |= grown
        return sum(stats[pid][1] for pid in family & stats.keys()) / os.sysconf("SC_CLK_TCK")

    def headers(self, **more):
        out = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        if self.cookie:
            out["Cookie"] = f"nautile_session={self.cookie}"
        out.update({name.replace("_", "-"): value for name, value in more.items()})
        return {name: value for name, value in out.items() if value is not None}

    def request(self, method, path, body=None, timeout=60, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            if isinstance(body, (dict, list)):
                body = json.dumps(body)
            connection.request(method, path, body, self.headers(**headers))
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, body, **options):
        return self.request("POST", path, body, **options)

    def chat(self, content, **fields):
        fields.setdefault("model", self.model)
        fields["messages"] = [{"role": "user", "content": content}]
        return self.post("/v1/chat/completions", fields)

    def open_stream(self, method, path, body=None, timeout=60):
        """A connection whose response is being read; the caller closes it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        connection.request(method, path, json.dumps(body) if body is not None else None,
                           self.headers())
        return connection, connection.getresponse()

    def metric(self, name):
        text = self.get("/metrics").body.decode()
        found = re.search(rf"^{re.escape(name)}(?:\{{[^}}]*\}})? ([0-9.e+-]+)$", text, re.M)
        return float(found.group(1))

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def events(response):
    """The JSON of each frame of an event stream; comments are given as strings."""
    for line in response:
        line = line.decode().rstrip("\n")
        if line.startswith("data: "):
            yield line[6:] if line == "data: [DONE]" else json.loads(line[6:])
        elif line.startswith(":"):
            yield line


def start_nautile(folder, *arguments, model=None):
    process = subprocess.Popen(
        [program("nautile"), "serve", "--listen", "127.0.0.1:0", "--model",
         model or starter_model(), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=dict(os.environ, NAUTILE_HOME=str(folder), LANG="C.UTF-8"))
    lines = Lines(process.stdout)
    port = int(lines.wait_for(r"http://127\.0\.0\.1:(\d+)").group(1))
    key_file = next(pathlib.Path(folder).rglob("api-key"))
    server = Server(process, lines, port, key_file.read_text().strip(), None)
    server.model = wait_for_model(server)
    return server


def wait_for_model(server):
    """Until the engine takes requests; returns the id of its model."""
    for _ in range(START_SECONDS * 20):
        if server.get("/health").status == 200:
            models = server.get("/v1/models").json()["data"]
            if models:
                return models[0]["id"]
        threading.Event().wait(0.05)
    raise RuntimeError("the engine did not become ready: " + "".join(server.lines.all))


def start_scripted(*arguments):
    process = subprocess.Popen([program("scripted_serve"), *arguments], stdout=subprocess.PIPE,
                               text=True)
    lines = Lines(process.stdout)
    first = json.loads(lines.wait_for(r"^\{.*\}$").group(0))
    server = Server(process, lines, first["port"], first["api_key"], "scripted")
    server.setup_code = first["setup_code"]
    return server


def temporary_folder():
    return tempfile.TemporaryDirectory(prefix="nautile-http-")
