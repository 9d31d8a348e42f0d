"""Signs what schemathesis sends, and names real things in its paths.

Loaded by schemathesis (SCHEMATHESIS_HOOKS). It is the signing of the contract, written from it alone.
"""

import base64
import datetime
import hashlib
import hmac
import os
from urllib.parse import urlsplit

import requests
import schemathesis

# Whether every request is to be one that the service takes.
VALID_ONLY = os.environ.get("VALID_ONLY") == "1"
TOKEN, SECRET = os.environ["ROSTER_TOKEN"], os.environ["ROSTER_SECRET"]
REAL = {name: os.environ["REAL_" + name.upper()] for name in ("account", "program", "participant", "command")}


class Signed(requests.auth.AuthBase):
    """The last hand on a request: it sees what is really sent."""

    def __call__(self, request):
        body = request.body or b""
        if isinstance(body, str):
            body = body.encode()
        path = urlsplit(request.url).path
        if request.headers.get("Content-Type", "").startswith("text/csv"):
            digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
            request.headers["Content-Digest"] = f"sha-256=:{digest}:"
            body = request.headers["Content-Digest"].encode()
            query = urlsplit(request.url).query
            path += f"?{query}" if query else ""
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds")
        lines = [TOKEN.encode(), request.method.encode(), path.encode(), body, now.encode()]
        # Bytes that are no text have no capitals but those of ASCII.
        text = b"\n".join(line.lower() for line in lines)
        try:
            text = b"\n".join(lines).decode().lower().encode()
        except UnicodeDecodeError:
            pass
        signature = base64.b64encode(hmac.new(SECRET.encode(), text, hashlib.sha256).digest()).decode()
        request.headers["Authorization"] = f"SignalVine {TOKEN}:{signature}"
        request.headers["SignalVine-Date"] = now
        return request


schemathesis.auth.set_from_requests(Signed())


@schemathesis.hook
def map_path_parameters(context, parameters):
    """Three of four things are there."""
    for name in parameters or {}:
        if VALID_ONLY or hashlib.sha256(str(parameters[name]).encode()).digest()[0] % 4:
            parameters[name] = REAL[name]
    return parameters


@schemathesis.hook
def map_body(context, body):
    """A valid body names the program that its path names."""
    if isinstance(body, dict) and isinstance(body.get("program"), str) and len(body["program"]) == 36:
        body["program"] = REAL["program"]
    return body


@schemathesis.hook
def filter_case(context, case):
    """The two forms of an import are one operation of the document, which cannot say which parameters belong to which: a valid one has
    no more than its body. And a page begins after a contact that is there."""
    if not VALID_ONLY:
        return True
    if case.method.upper() == "POST":
        case.query, case.headers = {}, {}
        return case.media_type == "application/json"
    (case.query or {}).pop("after", None)
    return True
