"""The attacker of test_slow_clients.py, a process of its own: slow headers and slow readers.

usage: slow_clients.py PORT HEADERS READERS     (prints a line when all are connected; runs until
its standard input ends; then prints how it went)

Each slow header sends a byte every two seconds and comes back when it is thrown out, no sooner than
that. Each slow reader asks for a large file many times over and takes nothing. The process is
nice: its own computing is not part of the attack, and a real one has its own machine.
"""
import json
import os
import resource
import select
import socket
import sys
import time

PACE_S = 2.0
HEAD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
ASK = b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n"
ASKED_TIMES = 60


def connect(port, receive_bytes=None):
    client = socket.socket()
    client.setblocking(False)
    if receive_bytes:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    try:
        client.connect(("127.0.0.1", port))
    except BlockingIOError:
        pass
    except OSError:
        client.close()
        return None
    return client


class Slow:
    def __init__(self, port, is_reader, offset):
        self.port, self.is_reader = port, is_reader
        self.next = time.monotonic() + offset
        self.client, self.sent, self.lost = None, 0, 0

    def turn(self):
        self.next += PACE_S
        if self.client is None:
            self.client = connect(self.port, 2048 if self.is_reader else None)
            self.sent = 0
            return
        if self.is_reader and self.sent:
            return
        data = HEAD[self.sent:self.sent + 1] or b"a"
        if self.is_reader:
            data = ASK % self.port * ASKED_TIMES
        try:
            self.sent += self.client.send(data)
        except BlockingIOError:
            pass
        except OSError:
            self.client.close()
            self.client, self.lost = None, self.lost + 1


def main():
    port, headers, readers = (int(word) for word in sys.argv[1:4])
    os.nice(10)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = headers + readers
    clients = [Slow(port, i >= headers, i * PACE_S / count) for i in range(count)]
    turns, said = 0, False
    while True:
        now = time.monotonic()
        wait = max(0.0, min(0.05, clients[turns % count].next - now))
        if select.select([sys.stdin], [], [], wait)[0] and not sys.stdin.readline():
            break
        while clients[turns % count].next <= time.monotonic():
            clients[turns % count].turn()
            turns += 1
        if turns >= 2 * count and not said:
            said = True
            print("all are in", flush=True)
    held = sum(client.client is not None for client in clients)
    print(json.dumps({"held": held, "lost": sum(client.lost for client in clients)}), flush=True)


main()
