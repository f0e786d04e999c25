"""Bad uploads, sent over MLflow's REST and by `models push`: refused with the reason, and nothing of them stays.

What a model does that loops, or that allocates without bound, it does to the process that examines it; the server goes on
answering. ONNX graphs are written byte by byte, as in `serving.py`, so that they can be wrong.
"""

import http.client
import json
import os
import pathlib
import pickle
import struct
import tempfile
import unittest
import urllib.parse

from serving import Server, _bytes, _graph, _number, write_identity
from test_mlflow import command, refused, wait

FLOAT, INT64, BOOL = 1, 7, 9
TREE = "/api/2.0/mlflow-artifacts/artifacts"
RUN = "0/0123456789abcdef0123456789abcdef/artifacts"
SPEC = '[{{"name": "{}_FP32", "type": "tensor", "tensor-spec": {{"dtype": "float32", "shape": [-1, {}]}}}}]'


def mlmodel(columns=2, data="model.onnx", flavour="onnx"):
    inputs, outputs = SPEC.format("INPUT", columns), SPEC.format("OUTPUT", 2)
    return f"flavors:\n  {flavour}:\n    data: {data}\nsignature:\n  inputs: '{inputs}'\n  outputs: '{outputs}'\n".encode()


def uploaded(graph, **about):
    return {"MLmodel": mlmodel(**about), "model.onnx": graph}


def value(name, kind, *dims):
    shape = b"".join(_bytes(1, _bytes(2, dim) if isinstance(dim, str) else _number(1, dim)) for dim in dims)
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, shape)))


def node(kind, inputs, outputs, *attributes):
    names = b"".join(_bytes(1, name) for name in inputs) + b"".join(_bytes(2, name) for name in outputs)
    return _bytes(1, names + _bytes(4, kind) + b"".join(_bytes(5, attribute) for attribute in attributes))


def integers(name, numbers, *dims):
    raw = struct.pack(f"<{len(numbers)}q", *numbers)
    dims = b"".join(_number(1, dim) for dim in dims)
    return _bytes(5, dims + _number(2, INT64) + _bytes(8, name) + _bytes(9, raw))


def model(*parts):
    """A graph from two floats a row to two floats a row."""
    ends = _bytes(11, value("INPUT_FP32", FLOAT, "n", 2)) + _bytes(12, value("OUTPUT_FP32", FLOAT, "n", 2))
    return _number(1, 8) + _bytes(8, _number(2, 17)) + _bytes(7, b"".join(parts) + _bytes(2, "bad") + ends)


def looping():
    body = node("Identity", ["on"], ["on_again"]) + node("Sin", ["x"], ["x_again"]) + _bytes(2, "body")
    body += _bytes(11, value("at", INT64)) + _bytes(11, value("on", BOOL)) + _bytes(11, value("x", FLOAT, "n", 2))
    body += _bytes(12, value("on_again", BOOL)) + _bytes(12, value("x_again", FLOAT, "n", 2))
    attribute = _bytes(1, "body") + _bytes(6, body) + _number(20, 5)
    turns = integers("turns", [2**62])
    return model(node("Loop", ["turns", "", "INPUT_FP32"], ["OUTPUT_FP32"], attribute), turns)


def allocating():
    sizes, axes = integers("sizes", [2**36, 1, 1], 3), integers("axes", [0], 1)
    keep = _bytes(1, "keepdims") + _number(3, 0) + _number(20, 2)
    nodes = node("Expand", ["INPUT_FP32", "sizes"], ["wide"]) + node("ReduceSum", ["wide", "axes"], ["OUTPUT_FP32"], keep)
    return model(nodes, sizes, axes)


def reaching_out():
    entry = _bytes(1, "location") + _bytes(2, "../../../../etc/passwd")
    tensor = _number(1, 2) + _number(2, FLOAT) + _bytes(8, "w") + _bytes(13, entry) + _number(14, 1)
    return model(node("Mul", ["INPUT_FP32", "w"], ["OUTPUT_FP32"]), _bytes(5, tensor))


def files_below(folder):
    return sorted(path for path in pathlib.Path(folder).rglob("*") if path.is_file())


class Refused(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def call(self, method, path, body=b"", connection=None):
        on = connection or http.client.HTTPConnection(self.server.http, timeout=60)
        body = json.dumps(body).encode() if isinstance(body, dict) else body
        on.request(method, path, body)
        answer = on.getresponse()
        told = answer.read()
        if connection is None:
            on.close()
        return answer.status, told.decode()

    def ask(self, method, path, **body):
        status, told = self.call(method, f"/api/2.0/mlflow/{path}", body)
        self.assertEqual(status, 200, told)
        return json.loads(told)

    def put(self, name, data, connection=None):
        return self.call("PUT", f"{TREE}/{RUN}/{urllib.parse.quote(name)}", data, connection)

    def settled(self, name, number=1):
        def check():
            (found,) = [one for one in command(self.server, "models", "versions", name) if one["version"] == number]
            return found if found["state"] not in ("draft", "validating") else None
        return wait(f"the gates of {name}/{number}", check)

    def register(self, name, files, policy=None):
        """Uploads files, registers them, and how the gates leave them."""
        for file, data in files.items():
            status, told = self.put(f"{name}/{file}", data)
            self.assertEqual(status, 200, told)
        self.ask("POST", "registered-models/create", name=name)
        if policy:
            with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
                file.write(policy)
                file.flush()
                command(self.server, "models", "policy", name, "--set", file.name)
        self.ask("POST", "model-versions/create", name=name, source=f"mlflow-artifacts:/{RUN}/{name}")
        return self.settled(name)

    def rejected(self, name, files, *words, policy=None):
        found = self.register(name, files, policy)
        self.assertEqual(found["state"], "rejected", found)
        report = json.dumps(command(self.server, "models", "report", name, 1))
        for word in words:
            self.assertIn(word, found["reason"])
            self.assertIn(word, report)
        self.gone(name)

    def gone(self, name, number=1):
        """Nothing serves or lies about, and with the record and the sender's own files the last byte goes."""
        data = pathlib.Path(self.server.data.name)
        self.assertFalse((data / "registered" / name / str(number)).exists())
        self.assertEqual([path for path in data.iterdir() if path.name.startswith(".gates")], [])
        self.assertEqual(self.call("GET", f"/v2/models/{name}/versions/{number}/ready")[0] // 100, 4)
        self.assertEqual(self.call("GET", "/v2/health/ready")[0], 200, "the server goes on")
        self.ask("DELETE", "model-versions/delete", name=name, version=str(number))
        self.call("DELETE", f"{TREE}/{RUN}/{name}")
        self.swept()

    def swept(self):
        """Whatever the age of the bytes that nobody names: none is kept."""
        blobs = pathlib.Path(self.server.data.name) / "artifacts"
        self.server.restart(lambda: [os.utime(path, (0, 0)) for path in files_below(blobs)])
        wait("the bytes are swept", lambda: files_below(blobs) == [])

    def test_an_onnx_file_that_was_cut_off(self):
        self.rejected("cut", uploaded(_graph(["FP32"])[:-20]), "operators", "only a part of one")

    def test_a_pickle_that_says_it_is_onnx(self):
        self.rejected("pickled", uploaded(pickle.dumps({"weights": [1.0] * 100})), "operators", "no ONNX graph")

    def test_a_flavour_that_is_not_served(self):
        self.rejected("flavoured", uploaded(b"a pickle", flavour="sklearn"), "flavour", "skl2onnx.to_onnx")

    def test_a_signature_that_is_not_the_graphs(self):
        self.rejected("signed", uploaded(_graph(["FP32"]), columns=3), "signature", "[-1, 2] in the graph, not [-1, 3]")

    def test_names_that_lead_elsewhere(self):
        for name in ("../../../evil", "a/../../evil", "/evil", "a\\..\\evil"):
            status, told = self.put(f"names/{name}", b"evil")
            self.assertEqual((status, "INVALID_PARAMETER_VALUE" in told), (400, True), f"{name}: {told}")
        self.swept()
        self.rejected("led", uploaded(_graph(["FP32"]), data="../../../etc/passwd"), "flavour", "no plain file name")

    def test_weights_in_a_file_elsewhere(self):
        self.rejected("reaching", uploaded(reaching_out()), "`../../../../etc/passwd`", "save_as_external_data")

    def test_a_bundle_that_is_there_already(self):
        with tempfile.TemporaryDirectory() as folder:
            (bundle,) = (write_identity(folder, ("FP32",)) / "identity").iterdir()
            command(self.server, "models", "push", bundle)
            self.assertEqual(self.settled("identity")["state"], "staged")
            command(self.server, "models", "push", bundle)
            second = self.settled("identity", 2)
            self.assertEqual(second["state"], "rejected")
            self.assertIn("MPS-IDENTITY-v1.0.0-FP32 is identity/1 already, which is staged", second["reason"])
        self.ask("DELETE", "model-versions/delete", name="identity", version="1")
        self.gone("identity", 2)

    def test_a_bundle_whose_manifest_leads_elsewhere(self):
        with tempfile.TemporaryDirectory() as folder:
            (bundle,) = (write_identity(folder, ("FP32",)) / "identity").iterdir()
            manifest = json.loads((bundle / "manifest.json").read_text())
            manifest["files"]["../evil"] = manifest["files"]["card.md"]
            (bundle / "manifest.json").write_text(json.dumps(manifest))
            told = refused(self.server, "models", "push", bundle)
            self.assertIn("no sound bundle", told)
            self.assertIn("../evil", told)
        self.assertEqual(files_below(pathlib.Path(self.server.data.name) / "artifacts" / "blobs"), [])

    def test_ten_thousand_files(self):
        connection = http.client.HTTPConnection(self.server.http, timeout=60)
        for at in range(2_000):
            self.assertEqual(self.put(f"many/{at}", b"x", connection)[0], 200)
        status, told = self.put("many/2000", b"x", connection)
        connection.close()
        self.assertEqual((status, "2000 files already" in told), (400, True), told)
        self.call("DELETE", f"{TREE}/{RUN}/many")
        self.swept()
        with tempfile.TemporaryDirectory() as folder:
            (bundle,) = (write_identity(folder, ("FP32",)) / "identity").iterdir()
            for at in range(10_000):
                (bundle / str(at)).write_bytes(b"x")
            self.assertIn("not listed in manifest.json", refused(self.server, "models", "push", bundle))
        self.swept()

    def test_a_graph_that_never_ends(self):
        policy = "[gates]\ncpu_seconds_max = 3\n"
        self.rejected("looping", uploaded(looping()), "more than 3 s of processor time", policy=policy)

    def test_a_graph_that_wants_all_memory(self):
        self.rejected("wide", uploaded(allocating()), "golden")


if __name__ == "__main__":
    unittest.main()
