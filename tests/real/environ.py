"""A WSGI application: answers with the request's variables and the length of its body, as JSON."""

import json


def application(environ, start_response):
    told = {
        name: str(value)
        for name, value in environ.items()
        if name.startswith(("HTTP_", "CONTENT_", "REQUEST_"))
    }
    body = json.dumps(told).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
