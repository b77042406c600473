"""`nautile pull` run for real against a hub of ours (hub_server.py) in a home of its own."""
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.append(str(HERE.parent))  # last: a folder there is called http
from hub_server import HubServer  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("NAUTILE") or str(ROOT / "build" / "release" / "nautile")
TIMEOUT_S = 120


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true",
                     help="the gigabyte that is killed twenty times, too")


def pytest_generate_tests(metafunc):
    if {"size", "kills"} <= set(metafunc.fixturenames):
        runs = [(64_000_000, 5)]
        if metafunc.config.getoption("--long"):
            runs.append((1_000_000_000, 20))
        metafunc.parametrize("size, kills", runs)


class Home:
    """A NAUTILE_HOME and what is in it."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.models = self.folder / "models"
        self.endpoint = "http://127.0.0.1:9"  # nobody; the tests never leave this machine
        self.env = {}

    def command(self, *arguments):
        return [BINARY, *arguments]

    def environment(self):
        env = {name: value for name, value in os.environ.items()
               if not name.startswith(("NAUTILE_", "HF_"))
               and name.lower() not in ("http_proxy", "https_proxy", "no_proxy")}
        env.update(NAUTILE_HOME=str(self.folder), LC_ALL="C")
        env.update(NAUTILE_HF_ENDPOINT=self.endpoint, NAUTILE_OLLAMA_ENDPOINT=self.endpoint)
        env.update(self.env)
        return env

    def start(self, *arguments, **options):
        return subprocess.Popen(self.command(*arguments), env=self.environment(), text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, **options)

    def pull(self, reference, *flags, **options):
        if "--retries" not in flags:
            flags = ("--retries", "2", *flags)
        return subprocess.run(self.command("pull", reference, *flags),
                              env=self.environment(), text=True, stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=TIMEOUT_S, **options)

    def leftovers(self):
        return sorted(str(path.relative_to(self.models)) for path in self.models.rglob("*")
                      if ".partial" in path.name or path.suffix == ".new")


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


@pytest.fixture
def make_hub():
    hubs = []

    def make(*arguments, **options):
        hubs.append(HubServer(*arguments, **options))
        return hubs[-1]
    yield make
    for hub in hubs:
        hub.stop()
