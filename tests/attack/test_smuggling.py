"""Requests that two servers could read in two ways: refused with one answer, then closed."""
import re

import pytest

from program import Program

HOST = b"Host: 127.0.0.1\r\n"
NEXT = b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n"
POST = b"POST /v1/chat/completions HTTP/1.1\r\n" + HOST

CHUNKED = b"Transfer-Encoding: chunked\r\n"

CASES = {
    "length and chunked": POST + b"Content-Length: 4\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "chunked and length": POST + CHUNKED + b"Content-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n",
    "two equal lengths": POST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "list of lengths": POST + b"Content-Length: 0, 0\r\n\r\n",
    "signed length": POST + b"Content-Length: +0\r\n\r\n",
    "negative length": POST + b"Content-Length: -1\r\n\r\n",
    "hexadecimal length": POST + b"Content-Length: 0x0\r\n\r\n",
    "octal length": POST + b"Content-Length: 00\r\n\r\n",
    "spaced length": POST + b"Content-Length: 1 0\r\n\r\n",
    "huge length": POST + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "folded header": POST + b"X: a\r\n Content-Length: 44\r\n\r\n",
    "folded encoding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "space before colon": POST + b"Content-Length : 0\r\n\r\n",
    "tab before colon": POST + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "space in a name": POST + b"Content Length: 0\r\n\r\n",
    "empty name": POST + b": x\r\n\r\n",
    "no colon": POST + b"Content-Length\r\n\r\n",
    "NUL in a value": POST + b"X: a\0b\r\n\r\n",
    "NUL in a name": POST + b"X\0: b\r\n\r\n",
    "bare LF after a line": POST + b"X: a\nContent-Length: 44\r\n\r\n",
    "bare LF everywhere": b"GET /health HTTP/1.1\nHost: 127.0.0.1\n\n",
    "bare CR": POST + b"X: a\rContent-Length: 44\r\n\r\n",
    "CR CR LF": POST + b"X: a\r\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n",
    "quoted chunked": POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "two encodings": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "vertical tab encoding": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bad chunk size": POST + CHUNKED + b"\r\nxx\r\n",
    "signed chunk size": POST + CHUNKED + b"\r\n-1\r\n",
    "0x chunk size": POST + CHUNKED + b"\r\n0x1\r\na\r\n0\r\n\r\n",
    "overflowing chunk size": POST + CHUNKED + b"\r\n10000000000000001\r\na\r\n",
    "bare LF after a size": POST + CHUNKED + b"\r\n1\na\r\n0\r\n\r\n",
    "bare LF in an extension": POST + CHUNKED + b"\r\n1;a\nb\r\nc\r\n0\r\n\r\n",
    "chunk longer than said": POST + CHUNKED + b"\r\n1\r\nab\r\n0\r\n\r\n",
    "bad trailer": POST + CHUNKED + b"\r\n0\r\nContent-Length : 5\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /health HTTP/1.1\r\n" + HOST + b"Host: evil\r\n\r\n",
    "two readings of a host": b"GET /health HTTP/1.1\r\nHost: 127.0.0.1,evil\r\n\r\n",
    "user in the host": b"GET /health HTTP/1.1\r\nHost: 127.0.0.1@evil\r\n\r\n",
    "other authority": b"GET http://evil/health HTTP/1.1\r\n" + HOST + b"\r\n",
    "target with a space": b"GET /health x HTTP/1.1\r\n" + HOST + b"\r\n",
    "target with a fragment": b"GET /health#x HTTP/1.1\r\n" + HOST + b"\r\n",
    "dot segments": b"GET /a/../health HTTP/1.1\r\n" + HOST + b"\r\n",
    "encoded dot segments": b"GET /a/%2e%2e/health HTTP/1.1\r\n" + HOST + b"\r\n",
    "encoded slash": b"GET /a%2fhealth HTTP/1.1\r\n" + HOST + b"\r\n",
    "backslash": b"GET /a\\health HTTP/1.1\r\n" + HOST + b"\r\n",
    "encoded NUL": b"GET /health%00 HTTP/1.1\r\n" + HOST + b"\r\n",
    "HTTP/0.9": b"GET /health\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "lower-case method": b"get /health HTTP/1.1\r\n" + HOST + b"\r\n",
    "two cookies": b"GET /health HTTP/1.1\r\n" + HOST + b"Cookie: a=b\r\nCookie: a=c\r\n\r\n",
    "two keys": b"GET /v1/models HTTP/1.1\r\n" + HOST
                + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
    "endless header": b"GET /health HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 20_000,
    "endless target": b"GET /" + b"a" * 20_000,
    "many fields": b"GET /health HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 100 + b"\r\n",
}


def read_to_end(client):
    answer = b""
    try:
        while piece := client.recv(65536):
            answer += piece
    except ConnectionResetError:
        pass  # it was sending when we closed; what it said has come
    return answer


def named(front, request):
    """With the name and port that the site's own rule wants."""
    return request.replace(HOST, b"Host: 127.0.0.1:%d\r\n" % front.port)


@pytest.fixture(scope="module")
def front():
    """No model is needed to be refused."""
    server = Program()
    yield server
    server.close()


@pytest.mark.parametrize("name", CASES)
def test_is_refused_once_and_closed(front, name):
    with front.raw() as client:
        # What follows on the connection must never be read as a request.
        client.sendall(named(front, CASES[name] + NEXT))
        answer = read_to_end(client)
    # By the parser, that is: not by a rule of the site, which would have read the request first.
    assert re.match(rb"HTTP/1.1 (400|405|413|414|431|505) ", answer), answer[:200]
    assert len(re.findall(rb"HTTP/1.1 \d", answer)) == 1, answer
    assert b"connection: close" in answer.lower()


def test_honest_requests_still_pass(front):
    with front.raw() as client:
        client.sendall(named(front, NEXT + NEXT + b"GET /health HTTP/1.1\r\n" + HOST
                             + b"Connection: close\r\n\r\n"))
        # 503 while the model loads
        assert len(re.findall(rb"HTTP/1.1 (200|503) ", read_to_end(client))) == 3
    with front.raw() as client:
        client.sendall(named(front, b"POST /v1/tokenize HTTP/1.1\r\n" + HOST
                             + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                               b"1\r\n{\r\n1;x=y\r\n}\r\n0\r\nX-Trailer: a\r\n\r\n"))
        assert read_to_end(client).startswith(b"HTTP/1.1 401 ")
    assert front.pid("gate") > 0
