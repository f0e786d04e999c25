"""Models that a client sends along with `load_model(name, config=..., files=...)`: served while they are loaded, by whoever
may load, where the server allows it, and refused with the reason otherwise."""

import json
import tempfile
import unittest

import numpy as np
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http
from tritonclient.utils import InferenceServerException

from serving import Server, _graph, values
from test_mlflow import command

LIMIT = 1 << 20
GRAPH = _graph(["FP32", "INT64"])
CONFIG = {
    "backend": "onnxruntime",
    "max_batch_size": 8,
    "input": [
        {"name": "INPUT_FP32", "data_type": "TYPE_FP32", "dims": [2]},
        {"name": "INPUT_INT64", "data_type": "TYPE_INT64", "dims": [2]},
    ],
    "instance_group": [{"count": 2, "kind": "KIND_CPU"}],
    "dynamic_batching": {"preferred_batch_size": [4], "max_queue_delay_microseconds": 100},
    "response_cache": {"enable": True},
}


ENSEMBLE = {
    "platform": "ensemble",
    "output": [{"name": "out"}],
    "ensemble_scheduling": {"step": [{"model_name": "thyroid", "output_map": {"probabilities": "out"}}]},
}


class SentAlong(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.bundles = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.server = Server(MANPASIK__SERVER__LOAD_OVERRIDE_BYTES_MAX=str(LIMIT))
        cls.addClassCleanup(lambda: cls.server.stop())
        cls.clients = cls.connect()

    @classmethod
    def connect(cls):
        clients = {
            "grpc": (over_grpc, over_grpc.InferenceServerClient(cls.server.grpc)),
            "http": (over_http, over_http.InferenceServerClient(cls.server.http)),
        }
        for _, client in clients.values():
            cls.addClassCleanup(client.close)
        return clients

    def answer(self, face, model, **more):
        library, client = self.clients[face]
        inputs = []
        for datatype in ("FP32", "INT64"):
            array = values(datatype)
            tensor = library.InferInput(f"INPUT_{datatype}", list(array.shape), datatype)
            tensor.set_data_from_numpy(array)
            inputs.append(tensor)
        return client.infer(model, inputs, **more)

    def load(self, face, model, config=CONFIG, files=None):
        _, client = self.clients[face]
        text = config if config is None or isinstance(config, str) else json.dumps(config)
        client.load_model(model, config=text, files=files)

    def refused(self, face, *arguments, **more):
        with self.assertRaises(InferenceServerException) as caught:
            self.load(face, *arguments, **more)
        return caught.exception.message()

    def test_what_is_sent_along_answers_until_it_is_unloaded(self):
        for face, (_, client) in self.clients.items():
            with self.subTest(face):
                model = f"sent-{face}"
                try:
                    self.load(face, model, files={"file:3/model.onnx": GRAPH})
                except InferenceServerException as error:
                    if "ONNX Runtime" in str(error):
                        self.skipTest(str(error))
                    raise
                np.testing.assert_array_equal(self.answer(face, model).as_numpy("OUTPUT_FP32"), values("FP32"))
                self.answer(face, model, model_version="3")
                told = client.get_model_config(model, as_json=True) if face == "grpc" else client.get_model_config(model)
                told = told.get("config", told)
                self.assertEqual((int(told["max_batch_size"]), told["backend"]), (8, "onnx"))
                self.assertEqual(int(told["instance_group"][0]["count"]), 2)
                self.assertTrue(told["response_cache"]["enable"])
                # Its own configuration can be sent back changed, and another version takes its place.
                told["dynamic_batching"]["max_queue_delay_microseconds"] = 50
                self.load(face, model, told, {"file:4/model.onnx": GRAPH})
                self.answer(face, model, model_version="4")
                with self.assertRaises(InferenceServerException):
                    self.answer(face, model, model_version="3")
                client.unload_model(model)
                self.assertFalse(client.is_model_ready(model))
                with self.assertRaises(InferenceServerException):
                    self.load(face, model, None)

    def test_a_configuration_alone_changes_how_a_model_waits(self):
        for face, (_, client) in self.clients.items():
            with self.subTest(face):
                self.load(face, "sensor-quality", {"max_batch_size": 4})
                told = self.clients["http"][1].get_model_config("sensor-quality")
                self.assertEqual(told["max_batch_size"], 4)
                self.load(face, "sensor-quality", None)
                told = self.clients["http"][1].get_model_config("sensor-quality")
                self.assertGreater(told["max_batch_size"], 4)

    def test_what_cannot_be_is_refused_with_the_reason_and_leaves_nothing(self):
        graph = {"file:1/model.onnx": GRAPH}
        cases = [
            (("m", {"sequence_batching": {"max_sequence_idle_microseconds": 1}}, graph), "sequence_batching.state"),
            (("m", {"sequence_batching": {"control_input": [{"name": "START"}]}}, graph), "control_input"),
            (("m", {"ensemble_scheduling": {"step": [{"model_name": "thyroid"}]}}, graph), "platform"),
            (("m", ENSEMBLE, graph), "takes no file"),
            (("m", ENSEMBLE, None), "says nothing of the input"),
            (("m", {"model_warmup": [{"name": "w"}]}, graph), "model_warmup"),
            (("m", {"instance_group": [{"kind": "KIND_GPU"}]}, graph), "KIND_GPU"),
            (("m", {"input": [{"name": "nope"}]}, graph), "nope"),
            (("m", "{", graph), "config"),
            (("m", {}, {"file:1/model.py": b"import os"}), "model.py"),
            (("m", {}, {"file:../../model.onnx": GRAPH}), "file:"),
            (("m", {}, {"file:1/model.onnx": GRAPH[:40]}), "graph"),
            (("m", {}, {"file:1/model.onnx": b"x" * (LIMIT + 1)}), str(LIMIT)),
            (("thyroid", {}, graph), "served already"),
        ]
        for face, (_, client) in self.clients.items():
            for arguments, word in cases:
                with self.subTest(face, word=word):
                    self.assertIn(word, self.refused(face, *arguments))
                    self.assertFalse(client.is_model_ready("m"))
        self.assertTrue(self.clients["http"][1].is_model_ready("thyroid"))

    def test_a_restart_forgets_what_was_sent_along(self):
        server = Server(self.bundles, MANPASIK__SERVER__LOAD_OVERRIDE_BYTES_MAX=str(LIMIT))
        self.addCleanup(lambda: server.stop())
        client = over_http.InferenceServerClient(server.http)
        client.load_model("gone", config="{}", files={"file:1/model.onnx": GRAPH})
        self.assertTrue(client.is_model_ready("gone"))
        client.close()
        server.crash()
        client = over_http.InferenceServerClient(server.http)
        self.assertFalse(client.is_model_ready("gone"))
        client.close()

    def test_it_takes_a_server_that_allows_it_and_a_role(self):
        closed = Server(self.bundles)
        self.addCleanup(closed.stop)
        client = over_http.InferenceServerClient(closed.http)
        with self.assertRaises(InferenceServerException) as caught:
            client.load_model("m", config="{}", files={"file:1/model.onnx": GRAPH})
        self.assertIn("server.load_override_bytes_max", caught.exception.message())
        client.close()
        guarded = Server(
            self.bundles, MANPASIK__AUTH__REQUIRED="true", MANPASIK__SERVER__LOAD_OVERRIDE_BYTES_MAX=str(LIMIT)
        )
        self.addCleanup(guarded.stop)
        client = over_http.InferenceServerClient(guarded.http)
        self.addCleanup(client.close)
        for name, role, may in [("uma", "user", False), ("ann", "data_scientist", True)]:
            token = command(guarded, "tokens", "create", name, "--role", role)["token"]
            headers = {"authorization": f"Bearer {token}"}
            load = lambda: client.load_model("m", headers, config="{}", files={"file:1/model.onnx": GRAPH})
            if may:
                load()
                continue
            with self.assertRaises(InferenceServerException) as caught:
                load()
            self.assertIn("data_scientist", caught.exception.message())
        own = command(guarded, "tokens", "create", "eve", "--role", "data_scientist", "--model", "mine")["token"]
        with self.assertRaises(InferenceServerException) as caught:
            client.load_model("mine", {"authorization": f"Bearer {own}"}, config=json.dumps(ENSEMBLE))
        self.assertIn("eve may not use model 'thyroid'", caught.exception.message())


if __name__ == "__main__":
    unittest.main()
