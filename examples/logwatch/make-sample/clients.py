"""Who visits the shop: each function is one session of one kind of client."""

import asyncio
import base64
import random
from dataclasses import dataclass, field
from urllib.parse import quote

from hostile import probe
from site_content import DOWNLOADS, FONTS, MODIFIED, PAGES, POSTS, PRODUCTS, SCRIPTS, STYLES
from wire import Http1, Http2

CHROME = "Mozilla/5.0 ({}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36"
WINDOWS, MAC, LINUX = "Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10_15_7", "X11; Linux x86_64"
BROWSERS = (
    [CHROME.format(WINDOWS, version) for version in (139, 140, 141, 141)]
    + [CHROME.format(MAC, 141), CHROME.format(LINUX, 140), CHROME.format(WINDOWS, 141) + " Edg/141.0.0.0"]
    + [CHROME.format("Linux; Android 10; K", 141).replace(" Safari", " Mobile Safari")] * 4
    + [f"Mozilla/5.0 ({WINDOWS}; rv:{version}.0) Gecko/20100101 Firefox/{version}.0" for version in (140, 143, 144)]
    + ["Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
       f"Version/{version} Mobile/15E148 Safari/604.1" for version in ("18.6", "26.0", "26.0")]
    + [f"Mozilla/5.0 ({MAC}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15"])
ENTRANCES = ["-", "-", "-", "https://www.google.com/", "https://www.google.com/", "https://www.bing.com/",
             "https://duckduckgo.com/", "https://l.instagram.com/", "https://t.co/k3Xw9", "https://news.example/gifts?p=2"]
CAMPAIGNS = ["", "", "", "?utm_source=newsletter&utm_medium=email&utm_campaign=october", "?gclid=Cj0KCQjw{n}",
             "?utm_source=instagram&utm_content=reel%20{n}", "?ref=partner-{n}"]
SEARCHES = ["oak lamp", "wool rug 200x300", "tischlampe grün", "chair & cushion", "mug", "50% sale", "c++ poster",
            "näh korb", "клок", "shelf+bracket", "gift < 20€", "clock"]
CRAWLERS = [  # agent, address, sessions' share
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "198.51.100.66", 5),
    ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", "198.51.100.157", 3),
    ("Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
     "203.0.113.20", 3),
    ("Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)",
     "203.0.113.77", 2),
    ("Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", "192.0.2.91", 4),
    ("Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)", "192.0.2.18", 3),
    ("CCBot/2.0 (https://commoncrawl.org/faq/)", "2001:db8:cc::17", 1),
]
API_AGENTS = ["okhttp/4.12.0", "okhttp/4.12.0", "ShopApp/3.8.1 (iOS 18.6; iPhone15,2)", "python-requests/2.32.5",
              "Go-http-client/1.1", "axios/1.12.2", "Dalvik/2.1.0 (Linux; U; Android 14; SM-S918B Build/UP1A)"]
FEED_READERS = ["Feedly/1.0 (+https://feedly.com/poller.html; 31 subscribers)", "Tiny Tiny RSS/25.09 (https://tt-rss.org/)",
                "NetNewsWire (RSS Reader; https://netnewswire.com/)"]


@dataclass
class World:
    """What all sessions share: randomness, the pace of time, and who is who."""

    rng: random.Random
    pace: float
    visitors: list[dict] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.visitors = [
            {"address": self.address(), "agent": self.rng.choice(BROWSERS), "seen": set(),
             "h2": self.rng.random() < 0.8, "eager": self.rng.paretovariate(1.3)}
            for _ in range(2_600)]

    def address(self) -> str:
        """An address from the ranges that are set aside for documentation."""
        if self.rng.random() < 0.22:
            return f"2001:db8:{self.rng.randrange(64):x}:{self.rng.randrange(4):x}::{self.rng.randrange(1, 65535):x}"
        return self.rng.choice(("192.0.2.", "198.51.100.", "203.0.113.")) + str(self.rng.randrange(1, 255))

    def balancer(self) -> str:
        """The loopback address that the connection itself comes from."""
        return f"127.0.{self.rng.randrange(4)}.{self.rng.randrange(1, 255)}"

    async def think(self, low: float, high: float) -> None:
        """Waits some seconds of the sample's time."""
        await asyncio.sleep(self.rng.uniform(low, high) * self.pace)


def forwarded(address: str, agent: str, referrer: str = "-", **more: str) -> dict[str, str]:
    """The headers that a balancer passes on."""
    headers = {"X-Forwarded-For": address, "User-Agent": agent}
    if referrer != "-":
        headers["Referer"] = referrer
    return headers | {name.replace("_", "-"): value for name, value in more.items()}


def page(rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.22:
        return "/"
    if roll < 0.62:
        return f"/products/{PRODUCTS[int(rng.paretovariate(0.9)) % len(PRODUCTS)]}/"
    if roll < 0.74:
        return f"/blog/{rng.choice(POSTS)}/"
    if roll < 0.82:
        return "/search?q=" + quote(rng.choice(SEARCHES), safe="").replace("%20", "+")
    if roll < 0.85:
        return rng.choice(("/old-shop/kettles.php", "/blog/2019/hello/", "/products", "/go", "/archive/2017.html"))
    return "/" + rng.choice(PAGES)


def assets(rng: random.Random, target: str) -> list[str]:
    """What the browser loads with a page."""
    wanted = [f"/static/css/{STYLES[0]}"] + [f"/static/js/{name}" for name in SCRIPTS[:2]]
    wanted += [f"/static/fonts/{FONTS[0]}", "/static/img/logo.svg", "/favicon.ico"]
    if "/products/" in target:
        product = target.split("/")[2] or rng.choice(PRODUCTS)
        wanted += [f"/static/img/{product}-{width}.webp" for width in rng.sample((320, 640, 1280), 2)]
    else:
        wanted += [f"/static/img/{name}-320.webp" for name in rng.sample(PRODUCTS, 2)]
    return wanted


async def browse(world: World) -> None:
    """A person with a browser: pages, what belongs to them, a cache, now and then a purchase."""
    rng = world.rng
    visitor = rng.choices(world.visitors, [one["eager"] for one in world.visitors])[0]
    who = visitor["address"], visitor["agent"]
    link = (Http2 if visitor["h2"] else Http1)(world.balancer())

    async def load(wanted: list[tuple[str, dict[str, str]]]) -> None:
        if isinstance(link, Http2):
            await link.requests(wanted)
        else:
            for target, headers in wanted:
                await link.request("GET", target, headers)

    referrer, target = rng.choice(ENTRANCES), page(rng)
    if "?" not in target:
        target += rng.choice(CAMPAIGNS).format(n=rng.randrange(10**6))
    for _ in range(min(12, int(rng.paretovariate(1.1)))):
        await load([(target, forwarded(*who, referrer))])
        referrer = "https://shop.example" + target.split("?")[0]
        wanted = []
        for asset in assets(rng, target):
            if asset not in visitor["seen"]:
                wanted.append((asset, forwarded(*who, referrer)))
            elif rng.random() < 0.07:
                wanted.append((asset, forwarded(*who, referrer, If_Modified_Since=MODIFIED)))
            visitor["seen"].add(asset)
        if wanted:
            await load(wanted)
        if rng.random() < 0.25:
            await load([(f"/api/v1/recommendations?for={target.split('/')[-2] or 'home'}&limit=8",
                         forwarded(*who, referrer))])
        await world.think(4, 60)
        target = page(rng)
    if rng.random() < 0.08:
        buyer = Http1(world.balancer())
        await buyer.request("GET", "/cart", forwarded(*who, referrer))
        await world.think(10, 90)
        await buyer.request("POST", "/checkout", forwarded(*who, "https://shop.example/cart"), b"x" * 240)
        await buyer.request("GET", "/checkout?step=thanks", forwarded(*who, "https://shop.example/cart"))
        buyer.close()
    link.close()


async def crawl(world: World) -> None:
    rng = world.rng
    agent, address, _ = rng.choices(CRAWLERS, [share for *_, share in CRAWLERS])[0]
    link = Http1(world.balancer())
    for target in ["/robots.txt", *(page(rng) for _ in range(rng.randint(3, 16)))]:
        if rng.random() < 0.05:
            target = f"/products/{rng.choice(('stool', 'vase', 'kettle'))}-{rng.randrange(900)}/"
        await link.request("GET", target, forwarded(address, agent))
        await world.think(1, 20)
    link.close()


async def use_api(world: World) -> None:
    rng = world.rng
    who = world.address(), rng.choice(API_AGENTS)
    link = Http1(world.balancer())
    for _ in range(rng.randint(2, 14)):
        order = f"/api/v1/orders/{rng.randrange(10**6):06}"
        method, target, size = rng.choices(
            [("GET", "/api/v1/orders?page={}&per_page=50", 0), ("GET", order, 0), ("POST", "/api/v1/orders", 310),
             ("PUT", order, 180), ("PATCH", order, 60), ("DELETE", order, 0), ("POST", "/api/v1/events", 900),
             ("OPTIONS", "/api/v1/orders", 0), ("GET", "/api/v1/stock/{}", 0)], [20, 24, 10, 4, 3, 2, 22, 4, 20])[0]
        await link.request(method, target.format(rng.randint(1, 40)), forwarded(*who), b"x" * size)
        await world.think(0.5, 15)
    link.close()


async def monitor(world: World) -> None:
    """Probes from this machine itself: no balancer between."""
    for source, agent, method, target in (("127.0.0.1", "kube-probe/1.33", "GET", "/healthz"),
                                          ("::1", "Prometheus/3.5.0", "GET", "/metrics"),
                                          ("127.0.0.1", "check_http/v2.3.3 (monitoring-plugins 2.3.3)", "HEAD", "/")):
        link = Http1(source)
        await link.request(method, target, {"User-Agent": agent})
        link.close()


async def administrate(world: World) -> None:
    rng = world.rng
    link = Http1(world.balancer())
    address, agent = world.address(), rng.choice(BROWSERS)
    await link.request("GET", "/admin/", forwarded(address, agent))
    user = rng.choice(("alice", "alice", "deploy", "Jane Doe"))
    for target in rng.sample(("/admin/", "/admin/orders", "/admin/stock", "/admin/users?role=editor"), 3):
        token = base64.b64encode(f"{user}:{rng.choice(('tree', 'tree', 'tree', 'wrong'))}".encode()).decode()
        await link.request("GET", target, forwarded(address, agent, Authorization=f"Basic {token}"))
        await world.think(3, 40)
    link.close()


async def download(world: World) -> None:
    """Parts of large files, ranges that do not exist, and people who lose patience."""
    rng = world.rng
    name, size = rng.choice(list(DOWNLOADS.items()))
    who = world.address(), rng.choice([*BROWSERS, "Wget/1.21.4", "curl/8.14.1", "aria2/1.37.0"])
    link, roll, target = Http1(world.balancer()), rng.random(), f"/downloads/{name}"
    if roll < 0.25:
        await link.request("GET", target, forwarded(*who))
    elif roll < 0.75:
        for part in range(rng.randint(2, 7)):
            start = part * 262_144 % size
            await link.request("GET", target, forwarded(*who, Range=f"bytes={start}-{min(start + 262_143, size - 1)}"))
    elif roll < 0.87:
        await link.request("GET", target, forwarded(*who, Range=f"bytes={size + 1}-"))
    else:
        await link.give_up(target, forwarded(*who), 0.004)
    link.close()


async def lose_patience(world: World) -> None:
    """Asks for a slow report: some hang up (499), some see the gateway give up (504)."""
    rng = world.rng
    link = Http1(world.balancer())
    headers = forwarded(world.address(), rng.choice(API_AGENTS))
    if rng.random() < 0.5:
        await link.give_up(f"/api/v1/report?month=2026-{rng.randint(1, 12):02}", headers, 0.03)
    else:
        await link.request("GET", f"/api/v1/report?month=2026-{rng.randint(1, 12):02}", headers)
    link.close()


async def read_feed(world: World) -> None:
    link = Http1(world.balancer())
    headers = forwarded(world.address(), world.rng.choice(FEED_READERS))
    if world.rng.random() < 0.8:
        headers["If-Modified-Since"] = MODIFIED
    await link.request("GET", "/feed.xml", headers)
    link.close()


async def err(world: World) -> None:
    """Ordinary mistakes: a post to a file, an upload that is too large, a folder that is closed."""
    rng = world.rng
    link = Http1(world.balancer())
    method, target, size = rng.choice([
        ("POST", "/static/img/logo.svg", 40), ("PUT", "/contact/", 90), ("POST", "/api/v1/orders", 70_000),
        ("GET", "/internal/reports/", 0), ("GET", "/static/img/", 0), ("DELETE", "/products/", 0),
        ("GET", "/.well-known/security.txt", 0), ("GET", "/apple-touch-icon.png", 0), ("GET", "/help/delivry/", 0)])
    await link.request(method, target, forwarded(world.address(), rng.choice(BROWSERS)), b"x" * size)
    link.close()


async def attack(world: World) -> None:
    await probe(world)


# How often each kind of session begins, relative to the others.
SESSIONS = {browse: 350, use_api: 130, crawl: 50, read_feed: 60, download: 16, err: 20, lose_patience: 14,
            attack: 22, administrate: 6}
