"""A small application: app.py NAME [PORT]. Prints its port.

GET /healthz answers 200, everything else its NAME; an upgrade becomes an echo of raw bytes.
"""

import base64
import hashlib
import socket
import sys
import threading

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def read_head(connection):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            return None
        head += byte
    return head.decode("latin-1")


def header(head, name):
    for line in head.split("\r\n")[1:]:
        key, _, value = line.partition(":")
        if key.lower() == name:
            return value.strip()
    return None


def serve(connection, name):
    with connection:
        while True:
            head = read_head(connection)
            if head is None:
                return
            key = header(head, "sec-websocket-key")
            if key is not None:
                proof = hashlib.sha1((key + GUID).encode()).digest()
                accept = base64.b64encode(proof).decode()
                connection.sendall(
                    (
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                        f"Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
                    ).encode()
                )
                while data := connection.recv(65536):
                    connection.sendall(data)
                return
            body = "fine" if head.startswith("GET /healthz ") else name
            connection.sendall(
                f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            if header(head, "connection") == "close":
                return


def main():
    name = sys.argv[1]
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    listener = socket.create_server(("127.0.0.1", port), backlog=512)
    print(listener.getsockname()[1], flush=True)

    def quietly(connection):
        try:
            serve(connection, name)
        except OSError:
            pass

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=quietly, args=(connection,), daemon=True).start()


main()
