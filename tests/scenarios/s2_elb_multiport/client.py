"""Prints what the application says to a WebSocket and, on https, to a request over a bare TLS socket.

Usage: client.py PORT HOST SOURCE [CA]; with CA it is wss and https, else ws alone.
"""

import socket
import ssl
import sys

from websockets.sync.client import connect

port, host, source = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.create_default_context(cafile=sys.argv[4]) if len(sys.argv) > 4 else None


def dial():
    return socket.create_connection(("127.0.0.1", port), source_address=(source, 0))


url = f"{'wss' if context else 'ws'}://{host}/python"
with connect(url, sock=dial(), ssl=context, proxy=None) as websocket:
    print(websocket.recv())
    for size in (1, 125, 126, 70000):
        websocket.send("m" * size)
        assert websocket.recv() == "m" * size

if context:
    with context.wrap_socket(dial(), server_hostname=host) as tls:
        tls.sendall(f"GET /ssl HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while piece := tls.recv(4096):
            answer += piece
    print(answer.split(b"\r\n\r\n", 1)[1].decode())
