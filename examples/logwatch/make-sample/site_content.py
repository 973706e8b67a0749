"""The shop that the sample's server serves: files below a folder, and the program behind `/api`."""

import asyncio
import os
import random
from datetime import UTC, datetime
from pathlib import Path

MODIFIED = "Tue, 20 Oct 2026 08:00:00 GMT"

PRODUCTS = [f"{kind}-{name}" for kind in ("kettle", "lamp", "chair", "shelf", "clock", "basket", "rug", "mug")
            for name in ("arden", "birk", "corvo", "dune", "elm", "fjord")]
POSTS = [f"2026/{slug}" for slug in (
    "a-quieter-warehouse", "autumn-colours", "how-we-pack", "caring-for-oak", "new-in-october", "meet-the-weavers",
    "returns-made-simple", "the-lamp-that-lasts", "our-energy-report", "why-no-plastic", "open-day", "repair-guide")]
PAGES = ["", "products/", "blog/", "about/", "contact/", "help/", "help/delivery/", "help/returns/"]
SCRIPTS = ["app.8f3c1d.js", "vendor.41be90.js", "cart.c07a2e.js"]
STYLES = ["app.5d21c4.css", "print.0a9b7e.css"]
FONTS = ["inter-var.woff2", "lora-italic.woff2"]
DOWNLOADS = {"catalogue-2026.pdf": 2_400_000, "assembly-chair.pdf": 310_000, "smart-lamp-2.4.1.bin": 1_150_000}

FILLER = b'{"sku":"lamp-elm","price":4900,"stock":17},' * 400

WORDS = ("oak wool linen glass light table order parcel size colour care wash return delivery stock basket price "
         "warm soft round small large hand made solid north south autumn winter room kitchen evening").split()


def build(root: Path, rng: random.Random) -> None:
    """Writes every static file. Sizes follow what such sites have: small pages, larger pictures, few big files."""

    modified = datetime.strptime(MODIFIED, "%a, %d %b %Y %H:%M:%S %Z").replace(tzinfo=UTC).timestamp()

    def write(path: str, content: bytes) -> None:
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        os.utime(target, (modified, modified))

    def text(size: int) -> bytes:
        words = []
        while size > 0:
            words.append(rng.choice(WORDS))
            size -= len(words[-1]) + 1
        return " ".join(words).encode()

    def page(size: int) -> bytes:
        return b"<!doctype html><title>shop</title><p>" + text(size) + b"\n"

    for path in PAGES:
        write(f"{path}index.html", page(rng.randint(6_000, 40_000)))
    for product in PRODUCTS:
        write(f"products/{product}/index.html", page(rng.randint(9_000, 30_000)))
        for width in (320, 640, 1280):
            write(f"static/img/{product}-{width}.webp", rng.randbytes(int(width * rng.uniform(20, 90))))
    for post in POSTS:
        write(f"blog/{post}/index.html", page(rng.randint(12_000, 70_000)))
    for name in SCRIPTS:
        write(f"static/js/{name}", text(rng.randint(20_000, 260_000)))
    for name in STYLES:
        write(f"static/css/{name}", text(rng.randint(8_000, 60_000)))
    for name in FONTS:
        write(f"static/fonts/{name}", rng.randbytes(rng.randint(30_000, 110_000)))
    for name, size in DOWNLOADS.items():
        write(f"downloads/{name}", rng.randbytes(size))
    write("static/img/logo.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><path d='M0 0h9v9z'/></svg>\n")
    write("favicon.ico", rng.randbytes(1_150))
    write("robots.txt", b"User-agent: *\nDisallow: /internal/\nSitemap: https://shop.example/sitemap.xml\n")
    write("sitemap.xml", text(18_000))
    write("feed.xml", text(22_000))
    write("admin/index.html", page(4_000))


class Backend:
    """The program behind `/api`, `/search`, `/cart` and `/checkout`; `outage` closes its door for a while."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.server: asyncio.Server | None = None

    async def start(self) -> None:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 18081, backlog=1024)

    async def outage(self, seconds: float) -> None:
        self.server.close()
        await asyncio.sleep(seconds)
        await self.start()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, target, _ = head.split(" ", 2)
            if "/report" in target:
                await asyncio.sleep(self.rng.choice((0.15, 1.0)))
            status, size = self.answer(method, target.split("?")[0])
            body = FILLER[:size] if status not in (204, 303) else b""
            kind = "application/json" if "/api/" in target else "text/html"
            location = "Location: /checkout?step=thanks\r\n" if status == 303 else ""
            writer.write(f"HTTP/1.0 {status} X\r\nContent-Type: {kind}\r\n{location}\r\n".encode() + body)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def answer(self, method: str, path: str) -> tuple[int, int]:
        rng = self.rng
        roll = rng.random()
        if roll < 0.004:
            return 500, 170
        if roll < 0.006:
            return 503, 190
        if path == "/checkout" and method == "POST":
            return (303, 0) if roll < 0.93 else (422, 140)
        if path.startswith("/api/v1/orders"):
            if method == "POST":
                return (201, rng.randint(180, 420)) if roll < 0.9 else (422, 140)
            if method == "DELETE":
                return 204, 0
            if roll < 0.05:
                return 401, 60
            if roll < 0.09:
                return 429, 40
            return (200, rng.randint(250, 9_000)) if roll < 0.93 else (404, 60)
        if path.startswith("/api/v1/events"):
            return 204, 0
        if path.startswith("/api/v1/"):
            return 200, rng.randint(120, 2_500)
        if path in ("/search", "/cart", "/checkout"):
            return 200, rng.randint(3_000, 14_000)
        return 404, 60
