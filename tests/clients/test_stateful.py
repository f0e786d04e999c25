"""Models that remember, models that hand on to each other, and inputs of unlike length, by clients of Triton unchanged."""

import concurrent.futures
import json
import queue
import tempfile
import unittest

import numpy as np
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http
from tritonclient.utils import InferenceServerException

from serving import Server, graph, write_bundle

ROW = ("FP32", ["rows", 1])
# What came before and what comes are added, given back and remembered.
ADDER = graph(
    [("Add", ["before", "x"], ["sum"], {}), ("Identity", ["sum"], ["after"], {})],
    {"before": ROW, "x": ROW},
    {"sum": ROW, "after": ROW},
)
DOUBLER = graph([("Add", ["x", "x"], ["y"], {})], {"x": ROW}, {"y": ROW})
STATE = {"input_name": "before", "output_name": "after", "data_type": "TYPE_FP32", "dims": [1]}
REMEMBERS = {"max_batch_size": 8, "sequence_batching": {"max_sequence_idle_microseconds": 60_000_000, "state": [STATE]}}


def masked_bundle(folder):
    """A model of rows of any length, with a mask and lengths 4 and 8."""
    long = ("FP32", ["rows", "length"])
    nodes = [("Mul", ["x", "mask"], ["each"], {}), ("ReduceMax", ["each"], ["most"], {"axes": [1]})]
    x = np.array([[1.0, 5.0, 2.0]], dtype=np.float32)
    golden = {"in.x": x, "in.mask": np.ones_like(x), "out.most": np.array([[5.0]], dtype=np.float32), "out.each": x}
    batching = ["[batching.lengths]", "buckets = [4, 8]", 'mask = "mask"']
    outputs = {"most": ROW, "each": long}
    return write_bundle(folder, "masked", nodes, {"x": long, "mask": long}, outputs, golden, batching)


class Stateful(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.server = Server(masked_bundle(folder), MANPASIK__SERVER__LOAD_OVERRIDE_BYTES_MAX=str(1 << 20))
        cls.addClassCleanup(cls.server.stop)
        cls.clients = {
            "grpc": (over_grpc, over_grpc.InferenceServerClient(cls.server.grpc)),
            "http": (over_http, over_http.InferenceServerClient(cls.server.http, concurrency=8)),
        }
        for _, client in cls.clients.values():
            cls.addClassCleanup(client.close)

    def load(self, face, model, config, graph=None):
        files = None if graph is None else {"file:1/model.onnx": graph}
        try:
            self.clients[face][1].load_model(model, config=json.dumps(config), files=files)
        except InferenceServerException as error:
            if "ONNX Runtime" in str(error):
                self.skipTest(str(error))
            raise

    def ask(self, face, model, values, name="x", **more):
        library, client = self.clients[face]
        array = np.array([values], dtype=np.float32)
        tensor = library.InferInput(name, list(array.shape), "FP32")
        tensor.set_data_from_numpy(array)
        return client.infer(model, [tensor], **more)

    def told(self, face, model):
        _, client = self.clients[face]
        return client.get_model_config(model, as_json=True)["config"] if face == "grpc" else client.get_model_config(model)

    def test_a_sequence_goes_on_from_its_last_answer(self):
        for face in self.clients:
            with self.subTest(face):
                model = f"adder-{face}"
                self.load(face, model, REMEMBERS, ADDER)
                step = lambda x, sequence, **more: self.ask(
                    face, model, [x], sequence_id=sequence, **more
                ).as_numpy("sum").item()
                self.assertEqual(step(1, 7, sequence_start=True), 1)
                self.assertEqual(step(10, "bed-7", sequence_start=True), 10)
                self.assertEqual(step(2, 7), 3)
                self.assertEqual(step(20, "bed-7", sequence_end=True), 30)
                self.assertEqual(step(4, 7, sequence_end=True), 7)
                with self.assertRaises(InferenceServerException) as caught:
                    step(1, 7)
                self.assertIn("must specify the START flag", caught.exception.message())
                with self.assertRaises(InferenceServerException) as caught:
                    self.ask(face, model, [1])
                self.assertIn("correlation ID", caught.exception.message())
                config = self.told(face, model)
                self.assertEqual([tensor["name"] for tensor in config["input"]], ["x"])
                self.assertEqual(config["sequence_batching"]["state"][0]["input_name"], "before")
                # Its own configuration can be sent back.
                config["version_policy"] = {"latest": {"num_versions": 1}}
                self.load(face, model, config, ADDER)

    def test_a_stream_carries_a_sequence_in_order(self):
        library, client = self.clients["grpc"]
        self.load("grpc", "adder-stream", REMEMBERS, ADDER)
        answers = queue.Queue()
        client.start_stream(lambda result, error: answers.put((result, error)))
        for at in range(1, 21):
            tensor = library.InferInput("x", [1, 1], "FP32")
            tensor.set_data_from_numpy(np.array([[at]], dtype=np.float32))
            ends = {"sequence_start": at == 1, "sequence_end": at == 20}
            client.async_stream_infer("adder-stream", [tensor], sequence_id=9, **ends)
        got = []
        for _ in range(20):
            result, error = answers.get(timeout=30)
            self.assertIsNone(error)
            got.append(result.as_numpy("sum").item())
        client.stop_stream()
        self.assertEqual(got, [at * (at + 1) / 2 for at in range(1, 21)])

    def test_models_hand_on_to_each_other_under_one_name(self):
        for face, (_, client) in self.clients.items():
            with self.subTest(face):
                first, second, both = f"first-{face}", f"second-{face}", f"both-{face}"
                for model in (first, second):
                    self.load(face, model, {"max_batch_size": 8}, DOUBLER)
                step = lambda model, source, target: {
                    "model_name": model, "model_version": -1, "input_map": {"x": source}, "output_map": {"y": target},
                }
                config = {
                    "platform": "ensemble",
                    "max_batch_size": 8,
                    "input": [{"name": "raw", "data_type": "TYPE_FP32", "dims": [1]}],
                    "output": [{"name": "four", "data_type": "TYPE_FP32", "dims": [1]}],
                    "ensemble_scheduling": {"step": [step(second, "two", "four"), step(first, "raw", "two")]},
                }
                self.load(face, both, config)
                self.assertEqual(self.ask(face, both, [3], "raw").as_numpy("four").item(), 12)
                told = self.told(face, both)
                self.assertEqual(told["platform"], "ensemble")
                self.assertEqual({step["model_name"] for step in told["ensemble_scheduling"]["step"]}, {first, second})
                client.unload_model(both)
                self.assertFalse(client.is_model_ready(both))
                client.load_model(both)
                self.assertEqual(self.ask(face, both, [5], "raw").as_numpy("four").item(), 20)
                client.unload_model(first)
                self.assertFalse(client.is_model_ready(both), "one of its models is gone")
                with self.assertRaises(InferenceServerException) as caught:
                    self.ask(face, both, [1], "raw")
                self.assertIn(first, caught.exception.message())
                config["ensemble_scheduling"]["step"][1]["model_name"] = "nowhere"
                with self.assertRaises(InferenceServerException) as caught:
                    self.load(face, f"none-{face}", config)
                self.assertIn("nowhere", caught.exception.message())

    def test_rows_of_unlike_length_are_answered_as_if_alone(self):
        rows = [[float(at % 5 - 1 + length) for at in range(length)] for length in range(1, 12)] * 4
        for face in self.clients:
            with self.subTest(face), concurrent.futures.ThreadPoolExecutor(8) as pool:
                if not self.clients[face][1].is_model_ready("masked"):
                    self.skipTest("ONNX Runtime is not installed")
                # The client over HTTP is for one thread.
                each = pool.map if face == "grpc" else map
                for row, answer in zip(rows, each(lambda row: self.ask(face, "masked", row), rows)):
                    self.assertEqual(answer.as_numpy("most").tolist(), [[max(row)]])
                    self.assertEqual(answer.as_numpy("each").tolist(), [row])
                optional = {tensor["name"]: tensor.get("optional", False) for tensor in self.told(face, "masked")["input"]}
                self.assertEqual(optional, {"x": False, "mask": True})


if __name__ == "__main__":
    unittest.main()
