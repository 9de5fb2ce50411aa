"""JupyterLab and Chromium for the browser tests: own settings and folders, no dialogs, nothing leaves this machine."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
    "notebook-extension/tracker": {"windowingMode": "none", "autoStartDefaultKernel": True},
    "docmanager-extension/plugin": {"autosave": False},
}
IDLE = """() => {
  const widget = window.jupyterapp?.shell.currentWidget, kernel = widget?.sessionContext?.session?.kernel;
  return !!(widget?.context?.isReady && kernel && kernel.status === 'idle');
}"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="Chromium is not installed"))


class Lab:
    """A running JupyterLab: its address, its token and the folder it serves."""

    def __init__(self, address: str, token: str, folder: Path):
        self.address, self.token, self.folder = address, token, folder


class Notebook:
    """A notebook open in JupyterLab in Chromium, and what a test asks of it."""

    def __init__(self, page, lab: Lab, name: str):
        self.page = page
        self.strangers: list[str] = []
        page.on("request", self._note)
        page.goto(f"{lab.address}/lab/workspaces/auto-{secrets.token_hex(4)}/tree/{name}?token={lab.token}&reset")
        page.wait_for_function(IDLE, timeout=90_000)

    def _note(self, request) -> None:
        where = urlsplit(request.url)
        if where.scheme in ("http", "https", "ws", "wss") and where.hostname != "127.0.0.1":
            self.strangers.append(request.url)

    def run_all(self) -> None:
        """Run every cell and wait until all are done and the widgets have drawn."""
        self.page.evaluate("async () => { await jupyterapp.commands.execute('notebook:run-all-cells'); }")
        self.page.wait_for_function(IDLE, timeout=240_000)
        self.page.wait_for_timeout(600)

    def problems(self) -> list[str]:
        """Return every error output, every line on stderr and every alert, in cells and inside widgets."""
        return self.page.evaluate(
            """() => {
              const found = [];
              jupyterapp.shell.currentWidget.content.widgets.forEach((cell, index) => {
                const outputs = cell.model.outputs;
                for (let i = 0; outputs && i < outputs.length; i++) {
                  const one = outputs.get(i).toJSON();
                  if (one.output_type === 'error') found.push(`cell ${index + 1}: ${one.ename}: ${one.evalue}`);
                  if (one.name === 'stderr') found.push(`cell ${index + 1}: stderr: ${one.text}`);
                }
              });
              const places = '[data-mime-type="application/vnd.jupyter.stderr"], .jp-OutputArea [role=alert]';
              document.querySelectorAll(places).forEach(node => found.push('in a widget: ' + node.textContent));
              return found;
            }"""
        )

    def shutdown(self) -> None:
        self.page.evaluate("async () => { await jupyterapp.shell.currentWidget.sessionContext.shutdown(); }")


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Start JupyterLab on a free port over a copy of the lessons; stop it by its own process at the end."""
    home = tmp_path_factory.mktemp("lab")
    folder = home / "files"
    shutil.copytree(ROOT / "notebooks", folder, ignore=shutil.ignore_patterns(".*"))
    for name, values in SETTINGS.items():
        file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    own = {
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "IPYTHONDIR": "ipython",
    }
    environment = os.environ | {name: str(home / value) for name, value in own.items()}
    environment |= {"OMP_NUM_THREADS": "1", "TOOLKIT_OFFLINE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    log = home / "server.log"
    command = [
        *[sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root"],
        *["--ServerApp.port_retries=0", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"],
        "--expose-app-in-browser",
    ]
    with log.open("wb") as stream:
        server = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 90
        while True:
            try:
                with urllib.request.urlopen(f"{address}/api/status?token={token}", timeout=5):
                    break
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")
                time.sleep(0.2)
        yield Lab(address, token, folder)
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # the server's own session: it and its kernels
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(10)


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """Chromium, headless."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def open_notebook(lab: Lab, browser) -> Iterator:
    """Return a function that opens a notebook of the served folder; closes pages and kernels afterwards."""
    opened: list[Notebook] = []
    contexts = []

    def open_one(name: str) -> Notebook:
        context = browser.new_context(viewport={"width": 1280, "height": 1000}, device_scale_factor=1)
        contexts.append(context)
        context.route(lambda url: urlsplit(url).hostname != "127.0.0.1", lambda route: route.abort())
        page = context.new_page()
        page.set_default_timeout(30_000)
        opened.append(Notebook(page, lab, name))
        return opened[-1]

    yield open_one
    for notebook in opened:
        notebook.shutdown()
    for context in contexts:
        context.close()
