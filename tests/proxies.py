"""A real HTTP proxy on the loopback, which passes on what it is asked to and remembers what it saw."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress


class Proxy:
    """Answers CONNECT; `asked` are the first lines of requests, `seen` all bytes from callers."""

    def __init__(self):
        self.asked: list[str] = []
        self.seen = bytearray()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.sockets = [self.listener]
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with suppress(OSError):
            while True:
                caller, _ = self.listener.accept()
                self.sockets.append(caller)
                threading.Thread(target=self.serve, args=(caller,), daemon=True).start()

    def serve(self, caller):
        with suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head and (data := caller.recv(4096)):
                head += data
            line = head.partition(b"\r\n")[0].decode()
            self.seen += head
            self.asked.append(line)
            host, _, port = line.split()[1].rpartition(":")
            upstream = socket.create_connection((host, int(port)), timeout=10)
            self.sockets.append(upstream)
            caller.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            threading.Thread(target=self.copy, args=(upstream, caller, bytearray()), daemon=True).start()
            self.copy(caller, upstream, self.seen)

    @staticmethod
    def copy(source, target, kept):
        with suppress(OSError):
            while data := source.recv(65536):
                kept += data
                target.sendall(data)

    def close(self):
        for each in self.sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@contextmanager
def proxy_in_environment(monkeypatch):
    """Let every variable that grpc reads name a proxy."""
    proxy = Proxy()
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    try:
        yield proxy
    finally:
        proxy.close()
