"""The real program with the starter model, for the attack tests: start, look at, stop.

Standard library only. Every wait is for an event with a deadline; nothing sleeps for luck.
"""
import http.client
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

BINARY = os.environ.get("NAUTILE", "build/release/nautile")
FETCHED = pathlib.Path(os.environ.get("NAUTILE_FETCH_DIR", "build/fetched"))
STARTER = "SmolLM2-135M-Instruct.Q4_1"
START_SECONDS = 60
SLOW = 4 if os.environ.get("NAUTILE_SLOW_MACHINE") else 1


def wait_until(condition, seconds, what):
    """Polls a condition of another process, which cannot wake us."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen within {seconds} s")
        select.select([], [], [], 0.02)
    return value


class Program:
    """`nautile serve` on a directory of its own and a free port."""

    def __init__(self, *flags):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="nautile-attack-"))
        (self.home / "models").mkdir(mode=0o700)
        os.symlink((FETCHED / "starter" / f"{STARTER}.gguf").resolve(),
                   self.home / "models" / f"{STARTER}.gguf")
        self.flags = flags
        self.process = None
        self.lines = []
        self.start()

    def start(self, port=0):
        env = {k: v for k, v in os.environ.items() if not k.startswith("NAUTILE_")}
        env.update(NAUTILE_HOME=str(self.home), LC_ALL="C")
        self.log = open(self.home / "stderr", "ab")
        self.process = subprocess.Popen(
            [BINARY, "serve", "--listen", f"127.0.0.1:{port}", *self.flags],
            stdout=subprocess.PIPE, stderr=self.log, stdin=subprocess.DEVNULL, env=env)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.lines = []
        self.port = int(self.line(r"Open http://127\.0\.0\.1:(\d+)"))
        self.code = self.line(r"code[^:]*: (\S+)|browser[^:]*: (\S+)")
        self.key = self.line(r"the key (sk-\w+)")

    def line(self, pattern, seconds=START_SECONDS):
        """The first group of the first printed line that fits; lines already read count too."""
        end = time.monotonic() + seconds
        pending = ""
        while True:
            for line in self.lines:
                if found := re.search(pattern, line):
                    return next((group for group in found.groups() if group), found.group(0))
            left = end - time.monotonic()
            if left <= 0 or self.process.poll() is not None:
                error = (self.home / "stderr").read_text(errors="replace")
                raise AssertionError(f"no line like {pattern!r}: {self.lines} {error}")
            if select.select([self.process.stdout], [], [], min(left, 0.5))[0]:
                pending += (self.process.stdout.read() or b"").decode()
                *whole, pending = pending.split("\n")
                self.lines += whole

    def wait_loaded(self, seconds=START_SECONDS):
        """Until the model is in memory; asks the server itself."""
        def loaded():
            try:
                status, _, body = self.get("/v1/models")
            except OSError:
                return False
            models = json.loads(body)["data"] if status == 200 else []
            return models and self.answer(tokens=1) is not None
        return wait_until(loaded, seconds, "loading the model")

    def running(self):
        """What the supervisor writes once its processes have sealed themselves."""
        path = self.home / "running.json"
        wait_until(path.exists, START_SECONDS, f"writing {path.name}")
        return json.loads(path.read_text())

    def pid(self, name):
        value = self.running()[name]
        return value if isinstance(value, int) else value["pid"]

    def get(self, path, headers=None, method="GET", body=None, timeout=30):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {self.key}",
                                                    **(headers or {})})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def stream(self, tokens=16, prompt="Count from one to twenty.", timeout=30):
        """A member's streamed question: yields (seconds since the start, data of one event)."""
        start = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            body = json.dumps({"model": STARTER, "stream": True, "max_tokens": tokens,
                               "temperature": 0, "messages": [{"role": "user", "content": prompt}]})
            connection.request("POST", "/v1/chat/completions", body,
                               {"Authorization": f"Bearer {self.key}",
                                "Content-Type": "application/json"})
            response = connection.getresponse()
            assert response.status == 200, (response.status, response.read())
            for line in response:
                if line.startswith(b"data: "):
                    yield time.monotonic() - start, line[6:].strip().decode()
        finally:
            connection.close()

    def answer(self, tokens=16, **more):
        """(seconds to the first token, whole text), or None if the answer failed."""
        first, text = None, ""
        try:
            for seconds, data in self.stream(tokens, **more):
                if data == "[DONE]":
                    return first, text
                event = json.loads(data)
                if "error" in event:
                    return None
                for choice in event.get("choices", []):
                    piece = choice.get("delta", {}).get("content") or ""
                    if piece and first is None:
                        first = seconds
                    text += piece
        except (OSError, http.client.HTTPException, AssertionError):
            return None
        return None

    def raw(self, timeout=10):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def stop(self, signal_number=signal.SIGTERM, seconds=15):
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        return self.process.wait(seconds)

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()
        shutil.rmtree(self.home, ignore_errors=True)
