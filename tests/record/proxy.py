"""A CONNECT proxy for one connection (RFC 9110 9.3.6): whatever name it is asked for, it connects to 127.0.0.1:443."""

from __future__ import annotations

import select
import socket
import sys

PATIENCE = 15.0


def main(port: int) -> None:
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.settimeout(PATIENCE)
        print("ready", flush=True)
        client, _ = listener.accept()
    with client, socket.create_connection(("127.0.0.1", 443)) as server:
        request = b""
        while b"\r\n\r\n" not in request:
            request += client.recv(1)
        client.sendall(b"HTTP/1.1 200 Connection established\r\nProxy-Agent: test\r\n\r\n")
        forward(client, server)


def forward(one: socket.socket, other: socket.socket) -> None:
    """Bytes both ways until both directions have ended."""
    towards = {one: other, other: one}
    reading = [one, other]
    while reading:
        ready, _, _ = select.select(reading, [], [], PATIENCE)
        if not ready:
            return
        for source in ready:
            data = source.recv(65536)
            if data:
                towards[source].sendall(data)
            else:
                reading.remove(source)
                towards[source].shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    main(int(sys.argv[1]))
