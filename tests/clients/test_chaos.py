"""Clients that misbehave, and ends of the server, over real sockets on loopback. Beside every one of them somebody behaves
well and must not notice; afterwards the server holds no more connections than before. docs/reliability.md lists them.

What a model can do (panic, hang, answer with no number) is tested where models can be written: inference/tests/it.
"""

import concurrent.futures
import http.client
import json
import os
import signal
import socket
import struct
import threading
import time
import unittest
import urllib.request

from serving import Server
from test_mlflow import wait

MODEL = "/v2/models/thyroid/infer"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


def connect(text, receive_bytes=None):
    end = socket.socket()
    if receive_bytes:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    end.settimeout(30)
    end.connect(address(text))
    return end


def vanish(end):
    """Ends a connection as a machine that loses power does: with a reset, not a farewell."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


def frame(kind, flags, stream, payload=b""):
    """A frame of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """A header field of HPACK, written out."""
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


HEADERS = b"".join(
    literal(name, value)
    for name, value in [
        (":method", "POST"), (":scheme", "http"), (":path", "/inference.GRPCInferenceService/ServerLive"),
        (":authority", "loopback"), ("content-type", "application/grpc"), ("te", "trailers"),
    ]
)


class Witness:
    """Somebody who asks all the while; every answer that is not 200 is kept."""

    def __init__(self, server, body):
        self.server, self.body = server, body
        self.over, self.answers, self.faults = threading.Event(), 0, []
        self.thread = threading.Thread(target=self.ask)

    def ask(self):
        link = http.client.HTTPConnection(*address(self.server.http), timeout=30)
        while not self.over.is_set():
            try:
                link.request("POST", MODEL, self.body)
                answer = link.getresponse()
                text = answer.read()
                if answer.status != 200:
                    self.faults.append(text)
                self.answers += 1
            except Exception as error:  # every failure counts
                self.faults.append(repr(error))
                link.close()
        link.close()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


class Chaos(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        described = json.load(urllib.request.urlopen(f"http://{cls.server.http}/v2/models/thyroid"))
        cls.inputs = described["inputs"]

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def body(self, rows):
        """A request of so many rows of ones."""
        def tensor(spec):
            columns = spec["shape"][1:]
            count = rows
            for size in columns:
                count *= size
            return {"name": spec["name"], "datatype": spec["datatype"], "shape": [rows, *columns], "data": [1] * count}
        return json.dumps({"inputs": [tensor(spec) for spec in self.inputs]}).encode()

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.server.child.pid}/fd"))

    def unharmed(self, harm):
        """Does `harm` beside somebody who must not notice; afterwards nothing of it is left."""
        before = self.descriptors()
        with Witness(self.server, self.body(1)) as witness:
            wait("the witness is answered", lambda: witness.answers > 20)
            harm()
            mark = witness.answers
            wait("the witness is still answered", lambda: witness.answers > mark + 20)
        self.assertEqual(witness.faults, [])
        self.assertIsNone(self.server.child.poll(), "the server runs")
        wait("every connection is given back", lambda: self.descriptors() <= before + 2, 30)

    def test_clients_that_vanish_in_the_middle_of_a_request(self):
        body = self.body(1)
        head = f"POST {MODEL} HTTP/1.1\r\nhost: h\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        message = head + body

        def harm():
            for at in range(300):
                end = connect(self.server.http)
                end.sendall(message[: 1 + at * len(message) // 300])
                vanish(end)
            for at in range(100):
                end = connect(self.server.grpc)
                part = PREFACE + frame(4, 0, 0) + frame(1, 4, 1, HEADERS)
                end.sendall(part[: 1 + at * len(part) // 100])
                vanish(end)

        self.unharmed(harm)

    def test_readers_that_do_not_read(self):
        request = b"GET /openapi.json HTTP/1.1\r\nhost: h\r\n\r\n"

        def harm():
            ends = [connect(self.server.http, receive_bytes=1024) for _ in range(50)]
            for end in ends:
                end.sendall(request * 20)
            time.sleep(1)
            for end in ends:
                vanish(end)

        self.unharmed(harm)

    def test_sockets_that_say_nothing_or_only_a_part_of_a_head(self):
        def harm():
            ends = [connect(self.server.http) for _ in range(100)] + [connect(self.server.grpc) for _ in range(100)]
            for end in ends[:50]:
                end.sendall(b"POST /v2/models HTTP/1.1\r\nhost: ")
            time.sleep(1)
            for end in ends:
                end.close()

        self.unharmed(harm)

    def test_a_head_that_never_ends_is_waited_for_only_so_long(self):
        end = connect(self.server.http)
        end.sendall(b"POST /v2/models HTTP/1.1\r\nhost: ")
        end.settimeout(60)
        # Whatever it says, it ends the connection.
        while end.recv(4096):
            pass
        end.close()

    def test_streams_that_are_opened_and_reset_at_once(self):
        def harm():
            for _ in range(5):
                end = connect(self.server.grpc)
                end.sendall(PREFACE + frame(4, 0, 0))
                try:
                    for stream in range(1, 8001, 2):
                        end.sendall(frame(1, 4, stream, HEADERS) + frame(3, 0, stream, struct.pack(">I", 8)))
                except OSError:
                    pass  # The server may end a connection that does nothing else.
                end.close()

        self.unharmed(harm)


class Ends(unittest.TestCase):
    def test_what_was_accepted_before_an_orderly_end_is_answered(self):
        server = Server()
        chaos = Chaos()
        chaos.inputs = json.load(urllib.request.urlopen(f"http://{server.http}/v2/models/thyroid"))["inputs"]
        body = chaos.body(32)
        message = f"POST {MODEL} HTTP/1.1\r\nhost: h\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
        ends = [connect(server.http) for _ in range(64)]
        for end in ends:
            end.sendall(message)
        server.child.send_signal(signal.SIGTERM)
        answered = sum(self.is_whole(end) for end in ends)
        self.assertEqual(server.child.wait(timeout=30), 0)
        server.stop()
        self.assertGreater(answered, 0, "some were accepted before the signal")

    def is_whole(self, end):
        """Whether there was an answer. One that was begun must be whole and good."""
        text = b""
        try:
            while part := end.recv(65536):
                text += part
                head, separator, body = text.partition(b"\r\n\r\n")
                length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), None)
                if separator and length and len(body) >= int(length.split(b":")[1]):
                    break
        except ConnectionResetError:
            pass
        end.close()
        if not text:
            return False
        head, _, body = text.partition(b"\r\n\r\n")
        self.assertIn(b" 200 ", head.split(b"\r\n")[0], text[:500])
        self.assertEqual(json.loads(body)["model_name"], "thyroid")
        return True

    def test_what_was_acknowledged_before_a_kill_is_there_after_it(self):
        server = Server()
        acknowledged, lock, over = [], threading.Lock(), threading.Event()

        def post(path, fields):
            request = urllib.request.Request(
                f"http://{server.http}/api/2.0/mlflow/{path}", json.dumps(fields).encode(),
                {"Content-Type": "application/json"},
            )
            return json.load(urllib.request.urlopen(request, timeout=10))

        def work(worker):
            while not over.is_set():
                try:
                    name = f"{worker}"
                    run = post("runs/create", {"experiment_id": "0", "run_name": name})["run"]["info"]["run_id"]
                    post("runs/log-parameter", {"run_id": run, "key": "worker", "value": name})
                except Exception:
                    return
                with lock:
                    acknowledged.append((run, name))

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            workers = [pool.submit(work, worker) for worker in range(8)]
            wait("some are acknowledged", lambda: len(acknowledged) > 40)
            server.crash()
            over.set()
            concurrent.futures.wait(workers)
        for run, name in acknowledged:
            found = json.load(urllib.request.urlopen(f"http://{server.http}/api/2.0/mlflow/runs/get?run_id={run}"))
            params = {param["key"]: param["value"] for param in found["run"]["data"]["params"]}
            self.assertEqual(params, {"worker": name})
        server.stop()


if __name__ == "__main__":
    unittest.main()
