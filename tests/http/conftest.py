"""One server start serves the whole session. `--scripted` runs the client tests against the
scripted engine, for work on the API without the model."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import servers  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--scripted", action="store_true",
                     help="the scripted engine in place of the starter model")


def pytest_configure(config):
    config.addinivalue_line("markers", "real_engine: not for the scripted engine")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--scripted"):
        items[:] = [item for item in items if not item.get_closest_marker("real_engine")]


@pytest.fixture(scope="session")
def scripted():
    server = servers.start_scripted()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def server(request):
    if request.config.getoption("--scripted"):
        running = servers.start_scripted()
        yield running
        running.stop()
        return
    with servers.temporary_folder() as folder:
        running = servers.start_nautile(folder)
        yield running
        running.stop()
