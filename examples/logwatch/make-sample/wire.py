"""Connections that a real server answers: HTTP/1.1 and HTTP/2 over plain sockets, from any loopback address."""

import asyncio
import struct

HOST, PORT, PORT_H2 = "127.0.0.1", 18080, 18082
TIMEOUT = 10.0


class Http1:
    """One keep-alive connection."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def connect(self) -> None:
        host = "::1" if ":" in self.source else HOST
        self.reader, self.writer = await asyncio.open_connection(host, PORT, local_addr=(self.source, 0))

    async def raw(self, data: bytes, patience: float = 0.3) -> None:
        """Sends bytes as they are, takes what comes and hangs up."""
        await self.connect()
        self.writer.write(data)
        try:
            await asyncio.wait_for(self.reader.read(65_536), patience)
        except (TimeoutError, ConnectionError):
            pass
        self.close()

    async def request(self, method: str, target: str, headers: dict[str, str], body: bytes = b"") -> int:
        """Returns the status."""
        if self.writer is None:
            await self.connect()
        lines = [f"{method} {target} HTTP/1.1", "Host: shop.example"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body or method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(body)}")
        self.writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        return await asyncio.wait_for(self.response(method), TIMEOUT)

    async def response(self, method: str) -> int:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(head.split(" ", 2)[1])
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        if method != "HEAD" and status not in (204, 304):
            if fields.get("transfer-encoding") == "chunked":
                while size := int(await self.reader.readline(), 16):
                    await self.reader.readexactly(size + 2)
                await self.reader.readline()
            else:
                await self.reader.readexactly(int(fields.get("content-length", 0)))
        if fields.get("connection") == "close":
            self.close()
        return status

    async def give_up(self, target: str, headers: dict[str, str], after: float) -> None:
        """Asks, and hangs up before the answer is complete."""
        await self.connect()
        lines = [f"GET {target} HTTP/1.1", "Host: shop.example"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")
        await asyncio.sleep(after)
        self.writer.transport.abort()
        self.writer = None

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None


class Http2:
    """One HTTP/2 connection with prior knowledge. Headers go out as plain literals, and answers are not decoded."""

    DATA, HEADERS, RST, SETTINGS, GOAWAY, WINDOW = 0, 1, 3, 4, 7, 8
    END_STREAM, END_HEADERS, ACK = 1, 4, 1

    def __init__(self, source: str) -> None:
        self.source = source
        self.writer: asyncio.StreamWriter | None = None
        self.stream = -1

    def frame(self, kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload

    async def connect(self) -> None:
        self.reader, self.writer = await asyncio.open_connection(HOST, PORT_H2, local_addr=(self.source, 0))
        window = 2**31 - 1
        self.writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                          + self.frame(self.SETTINGS, 0, 0, struct.pack(">HI", 4, window))
                          + self.frame(self.WINDOW, 0, 0, struct.pack(">I", window - 65_535)))

    @staticmethod
    def literal(name: str, value: str) -> bytes:
        def string(text: str) -> bytes:
            data = text.encode("latin-1")
            size = len(data)
            if size < 127:
                return bytes([size]) + data
            size -= 127
            prefix = [127]
            while size >= 128:
                prefix.append(size % 128 + 128)
                size //= 128
            return bytes([*prefix, size]) + data

        return b"\x00" + string(name.lower()) + string(value)

    async def requests(self, targets: list[tuple[str, dict[str, str]]]) -> None:
        """Asks for all targets at once, as a browser does, and waits until each is answered."""
        if self.writer is None:
            await self.connect()
        waiting = set()
        for target, headers in targets:
            self.stream += 2
            waiting.add(self.stream)
            block = b"".join(self.literal(name, value) for name, value in (
                (":method", "GET"), (":scheme", "https"), (":authority", "shop.example"), (":path", target),
                *headers.items()))
            self.writer.write(self.frame(self.HEADERS, self.END_STREAM | self.END_HEADERS, self.stream, block))
        await asyncio.wait_for(self.answers(waiting), TIMEOUT)

    async def answers(self, waiting: set[int]) -> None:
        while waiting:
            head = await self.reader.readexactly(9)
            size = int.from_bytes(head[:3])
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:9])
            await self.reader.readexactly(size)
            if kind == self.SETTINGS and not flags & self.ACK:
                self.writer.write(self.frame(self.SETTINGS, self.ACK, 0, b""))
            elif kind == self.GOAWAY:
                raise ConnectionError("go away")
            elif kind == self.RST or (kind in (self.DATA, self.HEADERS) and flags & self.END_STREAM):
                waiting.discard(stream)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None
