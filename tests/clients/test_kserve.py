"""The client of KServe against our server: health, inference in every datatype it knows, and its repository calls."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import urllib.request

import numpy as np

from serving import DATATYPES, Server, values, write_identity

MODEL = "identity"
# The client knows no brain floats.
KNOWN = [datatype for datatype in DATATYPES if datatype != "BF16"]


class KServeClient(unittest.TestCase):
    """One server over the identity; the client runs in a process of its own."""

    @classmethod
    def setUpClass(cls):
        bundles = write_identity(cls.enterClassContext(tempfile.TemporaryDirectory()), KNOWN)
        cls.server = Server(bundles)
        cls.addClassCleanup(cls.server.stop)
        with urllib.request.urlopen(f"http://{cls.server.http}/v2/repository/index", data=b"", timeout=30) as index:
            [entry] = json.load(index)
        if entry["state"] != "READY" and "ONNX Runtime" in entry.get("reason", ""):
            raise unittest.SkipTest(entry["reason"])
        program = pathlib.Path(__file__).with_name("kserve_calls.py")
        ran = subprocess.run(
            [sys.executable, program, cls.server.grpc, cls.server.http, MODEL],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ran.returncode == 0, ran.stderr[-4000:]
        cls.told = json.loads(ran.stdout.splitlines()[-1])

    def test_both_protocols_say_that_it_lives_and_is_ready(self):
        for protocol in ("rest", "grpc"):
            found = self.told[protocol]
            self.assertEqual((found["live"], found["ready"], found["model_ready"]), (True, True, True), protocol)
            self.assertEqual(found["id"], "7")

    def test_every_datatype_it_knows_goes_there_and_back(self):
        for protocol in ("rest", "grpc"):
            outputs = self.told[protocol]["outputs"]
            self.assertEqual(sorted(outputs), sorted(KNOWN), protocol)
            for datatype, got in outputs.items():
                want = values(datatype).ravel().tolist()
                want = [text.hex() for text in want] if datatype == "BYTES" else want
                np.testing.assert_array_equal(got, want, err_msg=f"{protocol} {datatype}")

    def test_its_shape_of_load_and_unload_is_understood(self):
        found = self.told["repository"]
        self.assertEqual(found["unloaded"], [MODEL, True, False])
        self.assertEqual(found["loaded"], [MODEL, True, True])
        self.assertEqual(found["platform"], "onnx")


if __name__ == "__main__":
    unittest.main()
