"""Recomputes signatures.json, the vectors that src/signature/tests.rs reads: signatures made by an independent hand.

    python3 tests/vectors/signatures.py > tests/vectors/signatures.json

Each vector has the request as it is *sent* and the Authorization header of a client that *signed* it in its own way.
`expected` is the form in which the server must recognise it, or "mismatch".
"""

import base64
import hashlib
import hmac
import json
import sys

TOKEN = "0123456789ABCDEF0123456789abcdef"
SECRET = "1B671A64-40d5-491e-99b0-da01ff1f3341"
DATE = "2026-11-23T12:00:00.123456+00:00"
PATH = "/v2/programs/0A6F7F62-27CB-11E8-AD0A-0AB427FA565C/participants"


def full(text):
    return text.lower().encode()


def plain_sigma(text):
    return "".join(letter.lower() for letter in text).encode()


def ascii_only(text):
    return text.encode().lower()  # bytes.lower() knows only A to Z, as tr does


def digest(token, secret, method, path, body, date, lower=full):
    lines = "\n".join([token, method, path, body, date])
    return hmac.new(secret.encode(), lower(lines), hashlib.sha256).digest()


def standard(signature):
    return base64.b64encode(signature).decode()


vectors = []


def vector(name, expected, sent="", signed=None, token=TOKEN, secret=SECRET, method="POST", path=PATH, date=DATE,
           signed_path=None, signed_date=None, lower=full, spell=standard, scheme="SignalVine"):
    signature = digest(token, secret, method, signed_path or path, sent if signed is None else signed,
                       signed_date or date, lower)
    vectors.append({
        "name": name, "expected": expected, "secret": secret, "method": method, "path": path, "body": sent, "date": date,
        "authorization": f"{scheme} {token}:{spell(signature)}",
    })


# The known vector, and its neighbours.
vector("known", "as_sent", token="INVENTED_TOKEN", secret="INVENTED_SECRET", method="GET", path="/bogus",
       date="1969-07-20T20:17:00+00:00")
assert vectors[0]["authorization"].endswith(":P1f0up2G0I6tJG4D3nRed/IlvvT2tqEQqbqEPXNQXDo=")
vector("empty body", "as_sent", method="GET", path="/v2/commands/ABC")
vector("blank body is not an empty one", "mismatch", sent=" ", signed="", method="GET")
vector("lower-case method", "as_sent", method="post", sent="{}")
vector("colon in the token", "as_sent", token="a:B:c")
vector("token beyond ascii", "as_sent_ascii", token="JETON-É", lower=ascii_only)
vector("secret beyond ascii", "as_sent", secret="GEHEIM-É")

# Scheme and base64. Compact JSON with a signature that has both special characters.
for count in range(1000):
    date = f"2026-11-23T12:00:00.{count:03}Z"
    text = standard(digest(TOKEN, SECRET, "POST", PATH, "{}", date))
    if "+" in text and "/" in text:
        break
for name, options in [
    ("scheme in lower case", {"scheme": "signalvine"}),
    ("scheme in capitals", {"scheme": "SIGNALVINE"}),
    ("padded", {}),
    ("unpadded", {"spell": lambda s: standard(s).rstrip("=")}),
    ("url-safe padded", {"spell": lambda s: base64.urlsafe_b64encode(s).decode()}),
    ("url-safe unpadded", {"spell": lambda s: base64.urlsafe_b64encode(s).decode().rstrip("=")}),
    ("encodebytes ends in a newline", {"spell": lambda s: base64.encodebytes(s).decode()}),
]:
    vector(name, "as_sent", sent="{}", date=date, **options)

# Timestamps are signed as spelled.
for date in [
    "2026-11-23T12:00:00.000Z", "2026-11-23T12:00:00.123456+00:00", "2026-11-23T12:00:00Z", "2026-11-23T12:00:00.1234567Z",
    "2026-11-23T12:00:00.123456789Z", "2026-11-23t12:00:00z", "2026-11-23 12:00:00Z", "2026-11-23T12:00:00+0000",
    "2026-11-23T12:00:00", "2026-11-23T12:00:00.5",
]:
    vector(f"timestamp {date}", "as_sent", date=date)
vector("timestamp printed anew", "mismatch", date="2026-11-23T12:00:00.000Z", signed_date="2026-11-23T12:00:00Z")

# White space: signed compact, sent as json.dumps does by default or indented.
request = {
    "program": "0A6F7F62-27CB-11E8-AD0A-0AB427FA565C",
    "options": {"new": "add", "existing": ["first_name", "Last_Name"], "mode": "row", "absent": "ignore"},
    "participants": "Phone,Name\r\n+13125550123,\"O, \\\" Neil\"\n+13125550124,Zoë\n",
}
compact = json.dumps(request, separators=(",", ":"))
spaced = json.dumps(request)
vector("compact, sent so", "as_sent", sent=compact)
vector("spaced, sent so", "as_sent", sent=spaced)
vector("compact signed, spaced sent", "stripped", sent=spaced, signed=compact)
vector("compact signed, indented sent", "stripped", sent=json.dumps(request, indent="\t"), signed=compact)
vector("compact signed, newline at the end sent", "stripped", sent=compact + "\n", signed=compact)
assert "\\u00eb" in compact
vector("escape replaced by its character", "mismatch", sent=spaced,
       signed=json.dumps(request, separators=(",", ":"), ensure_ascii=False))
vector("escape put for a character", "mismatch", sent=json.dumps(request, ensure_ascii=False), signed=compact)
vector("keys in another order", "mismatch", sent=spaced, signed=json.dumps(request, separators=(",", ":"), sort_keys=True))
vector("number printed anew", "mismatch", sent='{"a": 1.50}', signed='{"a":1.5}')
vector("number kept", "stripped", sent='{"a": 1.50}', signed='{"a":1.50}')
vector("duplicate key dropped", "mismatch", sent='{"a": 1, "a": 2}', signed='{"a":2}')
vector("duplicate key kept", "stripped", sent='{"a": 1, "a": 2}', signed='{"a":1,"a":2}')
vector("slash escape kept", "stripped", sent='{"a": "\\/"}', signed='{"a":"\\/"}')
vector("slash escape dropped", "mismatch", sent='{"a": "\\/"}', signed='{"a":"/"}')
vector("blank in a string stripped", "mismatch", sent='{"a": "b c"}', signed='{"a":"bc"}')
vector("spaced signed, compact sent", "mismatch", sent=compact, signed=spaced)
vector("white space of what is no json", "mismatch", sent="a, b", signed="a,b")
vector("white space of half a json", "mismatch", sent='{ "a": 1', signed='{"a":1')

# Lower-casing.
ACCENTS = {"participants": "name\nJOSÉ ÅNGSTRÖM"}
SIGMAS = {"participants": "name\nΟΔΥΣΣΕΥΣ, ΣΑΣ."}
DOTTED = {"participants": "name\nİBRAHİM IŞIK"}
for name, body in [("accents", ACCENTS), ("sigmas", SIGMAS), ("dotted i", DOTTED)]:
    sent = json.dumps(body, ensure_ascii=False)
    tight = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    sigma_matters = full(sent) != plain_sigma(sent)
    for way, lower, suffix in [
        ("full", full, ""),
        ("plain sigma", plain_sigma, "_plain_sigma" if sigma_matters else ""),
        ("ascii", ascii_only, "_ascii"),
    ]:
        vector(f"{name}, {way}", "as_sent" + suffix, sent=sent, lower=lower)
        vector(f"{name}, {way}, stripped", "stripped" + suffix, sent=sent, signed=tight, lower=lower)
vector("escaped capitals are ascii text", "as_sent", sent=json.dumps(ACCENTS), lower=ascii_only)
vector("small letters beyond ascii", "as_sent", sent='{"a":"josé"}', lower=ascii_only)
vector("signed without lower-casing", "mismatch", sent='{"a":"B"}', lower=lambda text: text.encode())
vector("upper-cased", "mismatch", sent='{"a":"b"}', lower=lambda text: text.upper().encode())

# Another request than the one that was signed.
vector("another path", "mismatch", sent="{}", signed_path=PATH + "/")
vector("query signed", "mismatch", sent="{}", signed_path=PATH + "?page=1")
vector("another body", "mismatch", sent='{"a":1}', signed='{"a":2}')

json.dump(vectors, sys.stdout, indent=1, ensure_ascii=False)
print()
