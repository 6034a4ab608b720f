"""Serve a study on one port until interrupted, and write down each person's link.

Separate from the routes because it is about this machine: address, port, links, shutdown.
"""

from __future__ import annotations

import csv
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import uvicorn

from realmaster.errors import StudyError
from realmaster.media.output import temporary
from realmaster.web.study.server import make_app
from realmaster.web.study.store import StudyStore

log = logging.getLogger(__name__)
LINKS = "links.csv"


def open_port(host: str, port: int) -> socket.socket:
    """Take the port before anything else is promised; 0 takes any free one.

    Raises:
        StudyError: the address is not this machine's, or the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(
        family, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )  # asyncio sends without delay where it says TCP
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(256)
    except OSError as error:
        listener.close()
        raise StudyError(
            f"expected to listen on {host}, port {port}, could not ({error.strerror or error}): choose another --port"
        ) from error
    return listener


def public_address(url: str | None, host: str, port: int) -> str:
    """Give the address that links begin with, ending in a slash.

    Raises:
        StudyError: the given one is no http or https address, or holds a query or fragment.
    """
    if url is None:
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise StudyError(f"expected an address such as https://example.org/study/, got {url!r}: correct --public-url")
    return url.rstrip("/") + "/"


def is_loopback(host: str) -> bool:
    """Tell whether a host is reachable from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def write_links(store: StudyStore, address: str) -> Path:
    """Write each person's link to `links.csv` in the study's folder, readable by its owner alone.

    Raises:
        OutputError: the folder cannot be written.
    """
    path = store.folder / LINKS
    with temporary(path) as part:
        part.touch(mode=0o600)
        with part.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["participant", "link"])
            rows.writerows((number, f"{address}#{token}") for number, token in store.tokens())
    return path


def serve(store: StudyStore, listener: socket.socket) -> None:
    """Answer on a listening socket until SIGINT or SIGTERM; requests under way are finished first."""
    _server(store).run(sockets=[listener])


@contextmanager
def serving(store: StudyStore, listener: socket.socket) -> Iterator[str]:
    """Answer in a thread while the block runs; gives the address, ending in a slash."""
    server = _server(store)
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    host, port = listener.getsockname()[:2]
    try:
        yield public_address(None, host, port)
    finally:
        server.should_exit = True
        thread.join()


def _server(store: StudyStore) -> uvicorn.Server:
    config = uvicorn.Config(
        make_app(store), log_level="warning", access_log=False, proxy_headers=False, server_header=False, ws="none",
        lifespan="off", timeout_graceful_shutdown=5, timeout_keep_alive=30,
    )  # fmt: skip
    return uvicorn.Server(config)
