"""Measure the built book with Lighthouse: nox -s lighthouse.

Serves book/_build/html from this machine, compressed as a web server would, and has Lighthouse
score pages with its desktop settings. Fails if a score is below 95, or if what a page first loads,
without its figures, is above a megabyte. Needs Node.js, npm and Chromium.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "book" / "_build" / "html"
PAGES = (
    "book/index",
    "notebooks/02_kan_layers",
    "notebooks/05_table1",
    "notebooks/09_prior_sampling",
)
LEAST = 95  # of 100, in each category
MOST = 1_000_000  # bytes that a page loads at first, compressed, without figures
TEXTS = (".html", ".js", ".css", ".svg", ".json", ".xml", ".txt")


class Compressed(http.server.SimpleHTTPRequestHandler):
    """Serves files, texts compressed, and lets browsers keep what has a version in its address."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with a file."""
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        body = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(path)))
        if path.suffix in TEXTS:
            body = _compress(path, path.stat().st_mtime)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Cache-Control", "max-age=600")  # as GitHub's pages have it
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@functools.cache
def _compress(path: Path, changed: float) -> bytes:
    return gzip.compress(path.read_bytes(), 6)


def serve() -> str:
    """Serve the book; its address."""
    handler = functools.partial(Compressed, directory=str(HTML))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


def measure(address: str, program: Path) -> dict[str, Any]:
    """What Lighthouse says of a page."""
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
    if browser is None:
        sys.exit("lighthouse: there is no Chromium on this machine")
    flags = "--headless=new --no-sandbox --disable-dev-shm-usage"
    done = subprocess.run(
        [str(program), address, "--preset=desktop", "--output=json", "--quiet",
         f"--chrome-flags={flags}"],
        capture_output=True, text=True, check=False, env={**os.environ, "CHROME_PATH": browser},
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"lighthouse failed on {address}:\n{done.stderr}")
    return json.loads(done.stdout)


def first_load(report: dict[str, Any]) -> int:
    """The bytes that a page loads, without its figures."""
    loads = report["audits"]["network-requests"]["details"]["items"]
    return sum(load["transferSize"] for load in loads if "/_images/" not in load["url"])


def main() -> None:
    """Measure the pages and print a line for each."""
    parser = argparse.ArgumentParser(description="Measure the built book with Lighthouse.")
    parser.add_argument("pages", nargs="*", default=PAGES, help="such as notebooks/11_why")
    parser.add_argument("--program", type=Path, required=True, help="Lighthouse itself")
    parser.add_argument("--report", type=Path, help="a folder for what Lighthouse says in full")
    options = parser.parse_args()
    address, failed = serve(), False
    for page in options.pages:
        if not (HTML / f"{page}.html").exists():
            sys.exit(f"lighthouse: there is no {HTML / page}.html: run `nox -s book`")
        report = measure(f"{address}/{page}.html", options.program)
        if options.report:
            options.report.mkdir(parents=True, exist_ok=True)
            path = options.report / f"{page.replace('/', '-')}.json"
            path.write_text(json.dumps(report), encoding="utf-8")
        scores = {
            part["title"]: round(100 * part["score"]) for part in report["categories"].values()
        }
        size = first_load(report)
        failed |= min(scores.values()) < LEAST or size > MOST
        words = ", ".join(f"{title} {score}" for title, score in scores.items())
        print(f"{page}: {words}; {size / 1000:.0f} kB without figures")
    if failed:
        sys.exit(f"lighthouse: a score below {LEAST}, or more than {MOST / 1000:.0f} kB")


if __name__ == "__main__":
    main()
