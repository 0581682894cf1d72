# SPDX-License-Identifier: Apache-2.0
"""npm's @kubernetes/client-node, a third real client, follows the test server by its informer.

Of the version in npm/package-lock.json; the first run installs it into build/npm, which needs npm and
its registry: without these the tests are skipped."""

import pathlib
import queue
import shutil
import subprocess
import tempfile
import threading

import pytest

import tls
from apiserver import ApiServer

HERE = pathlib.Path(__file__).resolve().parent
FILES = ("package.json", "package-lock.json")
INSTALLED = HERE.parents[1] / "build" / "npm"
INSTALL_SECONDS = 60


def is_installed():
    return all((INSTALLED / name).is_file() and (INSTALLED / name).read_bytes() == (HERE / "npm" / name).read_bytes()
               for name in FILES)


def install():
    """Beside its place, and then into it: it is there whole or not at all."""
    INSTALLED.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=INSTALLED.parent, prefix="npm-") as folder:
        fresh = pathlib.Path(folder) / "npm"
        fresh.mkdir()
        for name in FILES:
            shutil.copy(HERE / "npm" / name, fresh)
        done = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--cache",
             f"{folder}/cache"], cwd=fresh, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=INSTALL_SECONDS, check=False)
        if done.returncode != 0:
            pytest.skip(f"npm cannot install @kubernetes/client-node: {done.stderr[-500:]}")
        shutil.rmtree(INSTALLED, ignore_errors=True)
        fresh.rename(INSTALLED)


@pytest.fixture(scope="module")
def script():
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("npm and node are not here")
    if not is_installed():
        try:
            install()
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm has not installed @kubernetes/client-node within {INSTALL_SECONDS} s")
    return shutil.copy(HERE / "npm" / "informer.mjs", INSTALLED)  # node looks for packages from there on


class Informer:
    """A context manager; what it says, line by line."""

    def __init__(self, *argv):
        self.argv, self.lines = argv, queue.Queue()

    def __enter__(self):
        self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=lambda: [self.lines.put(line.strip()) for line in self.process.stdout])
        self.reader.start()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()

    def next(self, seconds=20):
        return self.lines.get(timeout=seconds)

    def until(self, last):
        """All that it says up to a line."""
        seen = [self.next()]
        while seen[-1] != last:
            seen.append(self.next())
        return seen


def service(name, **spec):
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]} | spec}


@pytest.fixture
def server(tmp_path):
    context, tls_file = tls.make(tmp_path)
    with ApiServer(ssl=context, watch_seconds=1) as made:
        made.authority = tls_file
        made.put("services", service("web"))
        yield made


@pytest.fixture
def informer(server, script):
    with Informer("node", script, server.url, str(server.authority), "admin") as made:
        assert made.next() == "connect"
        assert made.next() == "add web"
        yield made


def test_npms_informer_hears_of_each_change(server, informer):
    server.put("services", service("late"))
    assert informer.until("add late").count("add late") == 1
    server.put("services", service("late", type="NodePort"))
    informer.until("update late")

    async def remove():
        server.store.delete(server.resource("services"), "default", "late")
    server.call(remove())
    assert set(informer.until("delete late")) <= {"connect", "delete late"}


def test_npms_informer_goes_on_after_a_clean_end_without_a_list(server, informer):
    for _ in range(2):
        informer.until("connect")
    server.put("services", service("late"))
    assert set(informer.until("add late")) <= {"connect", "add late"}
    assert server.verbs.count(("list", "services")) == 1 and server.verbs.count(("watch", "services")) >= 3


def test_npms_informer_comes_back_after_a_restart_that_it_lost_a_service_by(server, informer):
    server.kill()
    assert informer.next().startswith(("error", "connect"))

    async def replace():
        server.store.delete(server.resource("services"), "default", "web")
        server.write("services", service("next"))
    server.call(replace())
    server.restart()
    seen = informer.until("add next")
    assert "delete web" in seen
