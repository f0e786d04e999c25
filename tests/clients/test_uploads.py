"""Files of any size, sent over MLflow's REST: they pass through the server without filling its memory, and one that breaks
off leaves what was there."""

import http.client
import os
import pathlib
import socket
import unittest

from serving import Server
from test_mlflow import wait

URL = "/api/2.0/mlflow-artifacts/artifacts/0/run/artifacts/"
MB = 1 << 20
FILE_BYTES = 4 << 30
MEMORY_BYTES_MAX = 64 * MB
PART = bytes(at % 251 for at in range(MB))


class Uploads(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.addCleanup(self.server.stop)
        self.blobs = pathlib.Path(self.server.data.name) / "artifacts"

    def begin(self, name, announced, sent):
        """A connection that announced so many bytes and sent so many."""
        host, port = self.server.http.rsplit(":", 1)
        connection = socket.create_connection((host, int(port)), timeout=300)
        head = f"PUT {URL}{name} HTTP/1.1\r\nhost: {self.server.http}\r\nconnection: close\r\ncontent-length: {announced}\r\n\r\n"
        connection.sendall(head.encode())
        for at in range(0, sent, MB):
            connection.sendall(PART[: min(MB, sent - at)])
        return connection

    def send(self, name, size):
        with self.begin(name, size, size) as connection:
            answer = b"".join(iter(lambda: connection.recv(MB), b""))
        self.assertTrue(answer.startswith(b"HTTP/1.1 200"), answer)

    def held(self, name):
        connection = http.client.HTTPConnection(self.server.http, timeout=60)
        connection.request("GET", URL + name)
        held = connection.getresponse().read()
        connection.close()
        return held

    def files(self):
        return [path for path in self.blobs.rglob("*") if path.is_file()]

    def peak(self):
        """Most memory that the server had resident since this was last forgotten, bytes."""
        status = pathlib.Path(f"/proc/{self.server.child.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024

    @unittest.skipUnless(os.path.exists("/proc/self/clear_refs"), "this system does not tell the peak of a process")
    def test_four_gigabytes_pass_in_constant_memory(self):
        self.send("small", 3)
        pathlib.Path(f"/proc/{self.server.child.pid}/clear_refs").write_text("5")
        idle = self.peak()
        self.send("large", FILE_BYTES)
        over = self.peak() - idle
        print(f"{over / MB:.0f} MB over idle ({idle / MB:.0f} MB)")
        self.assertLessEqual(over, MEMORY_BYTES_MAX)
        self.assertIn(FILE_BYTES, [path.stat().st_size for path in self.files()])

    def test_what_breaks_off_leaves_what_was_there_and_is_sent_again(self):
        self.send("model", 1_000)
        before = self.held("model")
        self.begin("model", 64 * MB, 40 * MB).close()
        wait("nothing of it is left", lambda: len(self.files()) == 1)
        self.assertEqual(self.held("model"), before)
        self.send("model", 64 * MB)
        self.assertEqual(self.held("model"), PART * 64)


if __name__ == "__main__":
    unittest.main()
