# Answers every request with what it understood of it, and says the same on standard output; served by
# gunicorn.
import sys

from gunicorn.app.base import BaseApplication


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def tell(environ, start_response):
    body_len = len(environ["wsgi.input"].read())
    # WSGI shows a body that was cut off by this alone.
    if environ.get("CONTENT_LENGTH", str(body_len)) != str(body_len):
        start_response("400 Bad Request", [("Content-Length", "0")])
        return []
    understood = f"{environ['REQUEST_METHOD']} {environ['RAW_URI']} {body_len}"
    say(understood)
    body = (understood + "\n").encode("latin-1")
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def say_port(server):
    say(str(server.LISTENERS[0].sock.getsockname()[1]))


class Server(BaseApplication):
    def load_config(self):
        self.cfg.set("bind", "127.0.0.1:0")
        self.cfg.set("worker_class", "gthread")
        self.cfg.set("threads", 8)
        self.cfg.set("keepalive", 60)
        self.cfg.set("control_socket_disable", True)
        self.cfg.set("limit_request_line", 8190)
        self.cfg.set("limit_request_fields", 200)
        self.cfg.set("limit_request_field_size", 65536)
        self.cfg.set("loglevel", "error")
        self.cfg.set("when_ready", say_port)

    def load(self):
        return tell


Server().run()
