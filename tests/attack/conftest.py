import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.append(str(HERE.parent))  # last: a folder there is called http
from program import Program  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true",
                     help="the full minute of slow clients instead of ten seconds")


@pytest.fixture(scope="module")
def program():
    """One server for the tests of a file that leave it as they found it."""
    server = Program()
    server.wait_loaded()
    yield server
    server.close()


@pytest.fixture
def own_program():
    """A server that the test may break."""
    server = Program()
    server.wait_loaded()
    yield server
    server.close()
