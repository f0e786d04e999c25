"""The Open Inference Protocol as the unmodified public client speaks it, over gRPC and over REST.

Our Rust tests share the .proto files with the server and would not notice a field number that both got
wrong. tritonclient brings its own. Every model that is ready is asked, whatever its signature.
"""

import pathlib
import re
import subprocess
import tempfile
import unittest

import numpy as np
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

ROOT = pathlib.Path(__file__).resolve().parents[2]
LISTENING = re.compile(r"listening grpc=(\S+) http=(\S+)")


class OpenInferenceProtocol(unittest.TestCase):
    """One server on free ports with a data folder of its own, asked by both clients."""

    @classmethod
    def setUpClass(cls):
        cls.data = cls.enterClassContext(tempfile.TemporaryDirectory())
        program = [str(ROOT / "target/release/manpasik"), "serve", "--data-dir", cls.data]
        program += ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        cls.server = subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        cls.addClassCleanup(cls.stop)
        found = next(filter(None, map(LISTENING.search, cls.server.stdout)), None)
        assert found, "the server ended before it said where it listens"
        cls.clients = {
            over_grpc: over_grpc.InferenceServerClient(found[1]),
            over_http: over_http.InferenceServerClient(found[2]),
        }
        for client in cls.clients.values():
            cls.addClassCleanup(client.close)
        index = cls.clients[over_http].get_model_repository_index()
        cls.ready = sorted(model["name"] for model in index if model.get("state") == "READY")

    @classmethod
    def stop(cls):
        cls.server.terminate()
        code = cls.server.wait(timeout=30)
        cls.server.stdout.close()
        assert code == 0, f"the server ended with {code} when asked to stop"

    def each(self):
        """Every client library with every ready model."""
        for library, client in self.clients.items():
            for name in self.ready:
                yield library, client, name

    def inputs(self, library, client, name):
        """Ones in the smallest shape that the model's metadata allows."""
        metadata = client.get_model_metadata(name)
        specs = metadata["inputs"] if isinstance(metadata, dict) else metadata.inputs
        inputs = []
        for spec in specs:
            read = spec.get if isinstance(spec, dict) else lambda key, spec=spec: getattr(spec, key)
            shape = [max(1, int(size)) for size in read("shape")]
            tensor = library.InferInput(read("name"), shape, read("datatype"))
            tensor.set_data_from_numpy(np.ones(shape, dtype=triton_to_np_dtype(read("datatype"))))
            inputs.append(tensor)
        return inputs

    @staticmethod
    def outputs(result):
        response = result.get_response()
        listed = response["outputs"] if isinstance(response, dict) else response.outputs
        names = [entry["name"] if isinstance(entry, dict) else entry.name for entry in listed]
        return {name: result.as_numpy(name) for name in names}

    def test_the_server_is_live_ready_and_named(self):
        for client in self.clients.values():
            self.assertTrue(client.is_server_live())
            self.assertTrue(client.is_server_ready())
        self.assertEqual(self.clients[over_grpc].get_server_metadata().name, "manpasik")
        self.assertEqual(self.clients[over_http].get_server_metadata()["name"], "manpasik")

    def test_both_protocols_list_the_same_models(self):
        index = self.clients[over_grpc].get_model_repository_index()
        self.assertTrue(self.ready, "no model is ready")
        self.assertEqual(self.ready, sorted(model.name for model in index.models if model.state == "READY"))
        for _, client, name in self.each():
            self.assertTrue(client.is_model_ready(name), name)

    def test_every_ready_model_answers_with_finite_numbers(self):
        for library, client, name in self.each():
            result = client.infer(name, self.inputs(library, client, name), request_id="7")
            outputs = self.outputs(result)
            self.assertTrue(outputs, name)
            for output, values in outputs.items():
                told = f"{library.__name__} {name} {output}"
                self.assertGreater(values.size, 0, told)
                self.assertTrue(np.isfinite(values).all(), told)

    def test_both_protocols_give_the_same_numbers(self):
        for name in self.ready:
            answers = []
            for library, client in self.clients.items():
                answers.append(self.outputs(client.infer(name, self.inputs(library, client, name))))
            self.assertEqual(answers[0].keys(), answers[1].keys(), name)
            for output, values in answers[0].items():
                np.testing.assert_allclose(values, answers[1][output], rtol=1e-5, atol=1e-6, err_msg=f"{name} {output}")

    def test_json_and_binary_tensors_mean_the_same(self):
        client = self.clients[over_http]
        for name in self.ready:
            binary = self.inputs(over_http, client, name)
            plain = []
            for spec in client.get_model_metadata(name)["inputs"]:
                shape = [max(1, int(size)) for size in spec["shape"]]
                if np.prod(shape) > 10_000:
                    break
                tensor = over_http.InferInput(spec["name"], shape, spec["datatype"])
                ones = np.ones(shape, dtype=triton_to_np_dtype(spec["datatype"]))
                tensor.set_data_from_numpy(ones, binary_data=False)
                plain.append(tensor)
            else:
                expected = self.outputs(client.infer(name, binary))
                for output, values in self.outputs(client.infer(name, plain)).items():
                    np.testing.assert_allclose(values, expected[output], rtol=1e-5, atol=1e-6)

    def test_an_unknown_model_and_a_wrong_shape_are_told_by_name(self):
        for library, client, name in self.each():
            inputs = self.inputs(library, client, name)
            with self.assertRaises(InferenceServerException) as refused:
                client.infer("no-such-model", inputs)
            self.assertIn("no-such-model", str(refused.exception))
            rank = len(inputs[0].shape())
            wrong = library.InferInput(inputs[0].name(), [1] * (rank + 1), "FP32")
            wrong.set_data_from_numpy(np.ones([1] * (rank + 1), dtype=np.float32))
            with self.assertRaises(InferenceServerException) as refused:
                client.infer(name, [wrong, *inputs[1:]])
            self.assertIn(inputs[0].name(), str(refused.exception))


if __name__ == "__main__":
    unittest.main()
