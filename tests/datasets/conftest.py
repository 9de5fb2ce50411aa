"""A server on this machine, a cache folder of its own for every test, and a small MNIST-like data set."""

import dataclasses
import gzip
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from toolkit.datasets.catalogue import ENTRIES
from toolkit.datasets.registry import SourceFile


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache folder; downloads are allowed, from this machine."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("TOOLKIT_DATA_DIR", str(folder))
    monkeypatch.delenv("TOOLKIT_OFFLINE", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("NODE_PATH", raising=False)
    return folder


class Server:
    """Answers by path: with bytes, or however a function of the request handler likes."""

    def __init__(self):
        self.answers, self.asked = {}, []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                owner.asked.append((self.path, dict(self.headers)))
                answer = owner.answers.get(self.path)
                if callable(answer):
                    answer(self)
                elif answer is None:
                    self.send_error(404)
                else:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)

            def log_message(self, *_):
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                """Clients hang up in the middle on purpose."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server():
    running = Server()
    yield running
    running.close()


@pytest.fixture
def published(server):
    """Make a file that a server offers: its record, and the bytes."""

    def publish(name, data, *addresses, **changes):
        server.answers[f"/{name}"] = data
        recorded = {
            "name": name,
            "addresses": addresses or (f"{server.address}/{name}",),
            "sha256": hashlib.sha256(data).hexdigest(),
            "size": len(data),
        }
        return SourceFile(**(recorded | changes))

    return publish


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def small_mnist(server, monkeypatch):
    """Replace MNIST by 20 + 10 images on the server; gives the decompressed files by name."""
    generator = np.random.default_rng(0)
    contents, files = {}, []
    for part, n in (("train", 20), ("t10k", 10)):
        contents[f"{part}-images-idx3-ubyte"] = idx(generator.integers(0, 256, (n, 28, 28)))
        contents[f"{part}-labels-idx1-ubyte"] = idx(np.arange(n) % 10)
    for name, content in contents.items():
        packed = gzip.compress(content, mtime=0)
        server.answers[f"/{name}.gz"] = packed
        files.append(
            SourceFile(
                f"{name}.gz",
                (f"{server.address}/{name}.gz",),
                sha256=hashlib.sha256(packed).hexdigest(),
                size=len(packed),
                content_sha256=hashlib.sha256(content).hexdigest(),
                content_size=len(content),
            )
        )
    entry = dataclasses.replace(ENTRIES["mnist"], files=tuple(files), train_counts=(2,) * 10, test_counts=(1,) * 10)
    monkeypatch.setitem(ENTRIES, "mnist", entry)
    return contents
