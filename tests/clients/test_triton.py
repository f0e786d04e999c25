"""Everything the unmodified Triton clients call: both protocols, asynchronous and streaming, every datatype."""

import asyncio
import json
import queue
import tempfile
import unittest
import urllib.request

import numpy as np
import tritonclient.grpc as over_grpc
import tritonclient.grpc.aio as over_grpc_async
import tritonclient.http as over_http
import tritonclient.http.aio as over_http_async
from tritonclient.utils import InferenceServerException, shared_memory

from serving import DATATYPES, LABELS, Server, values, write_identity

MODEL = "identity"


class TritonClients(unittest.TestCase):
    """One server over a graph that gives each of its inputs back, with shared memory turned on."""

    @classmethod
    def setUpClass(cls):
        bundles = write_identity(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.server = Server(bundles, MANPASIK__SERVER__SHARED_MEMORY="true")
        cls.addClassCleanup(cls.server.stop)
        cls.clients = {
            over_grpc: over_grpc.InferenceServerClient(cls.server.grpc),
            over_http: over_http.InferenceServerClient(cls.server.http),
        }
        for client in cls.clients.values():
            cls.addClassCleanup(client.close)
        [entry] = cls.clients[over_http].get_model_repository_index()
        if entry["state"] != "READY" and "ONNX Runtime" in entry.get("reason", ""):
            raise unittest.SkipTest(entry["reason"])
        assert entry["state"] == "READY", entry

    def inputs(self, library, rows=2, **options):
        """All inputs; `options` go to the REST client's choice of JSON or bytes."""
        inputs = []
        for datatype in DATATYPES:
            array = values(datatype, rows)
            tensor = library.InferInput(f"INPUT_{datatype}", list(array.shape), datatype)
            # Half precision has no JSON form.
            options_here = {} if datatype in ("FP16", "BF16") else options
            tensor.set_data_from_numpy(array, **options_here)
            inputs.append(tensor)
        return inputs

    def check(self, result, rows=2):
        for datatype in DATATYPES:
            got, want = result.as_numpy(f"OUTPUT_{datatype}"), values(datatype, rows)
            self.assertIsNotNone(got, datatype)
            np.testing.assert_array_equal(got.reshape(want.shape), want, err_msg=datatype)

    def test_every_datatype_goes_there_and_back(self):
        for library, client in self.clients.items():
            for rows in (1, 2, 16):
                with self.subTest(library=library.__name__, rows=rows):
                    self.check(client.infer(MODEL, self.inputs(library, rows), request_id="7"), rows)

    def test_json_carries_what_it_can(self):
        client = self.clients[over_http]
        kinds = [datatype for datatype in DATATYPES if datatype not in ("FP16", "BF16")]
        asked = [over_http.InferRequestedOutput(f"OUTPUT_{datatype}", binary_data=False) for datatype in kinds]
        result = client.infer(MODEL, self.inputs(over_http, binary_data=False), outputs=asked)
        for datatype in kinds:
            got, want = result.as_numpy(f"OUTPUT_{datatype}"), values(datatype)
            if datatype == "BYTES":
                want = np.array([text.decode() for text in want.ravel()], dtype=object).reshape(want.shape)
                got = np.array([t.decode() if isinstance(t, bytes) else t for t in got.ravel()], dtype=object)
            np.testing.assert_array_equal(np.asarray(got).reshape(want.shape), want, err_msg=datatype)

    def test_bodies_may_be_compressed_both_ways(self):
        http, grpc = self.clients[over_http], self.clients[over_grpc]
        for way in ("gzip", "deflate"):
            both = {"request_compression_algorithm": way, "response_compression_algorithm": way}
            self.check(http.infer(MODEL, self.inputs(over_http), **both))
            self.check(http.infer(MODEL, self.inputs(over_http, binary_data=False), **both))
            self.check(grpc.infer(MODEL, self.inputs(over_grpc), compression_algorithm=way))

    def test_asynchronous_clients_get_the_same(self):
        async def ask(library, address):
            async with library.InferenceServerClient(address) as client:
                asked = [client.infer(MODEL, self.inputs(library)) for _ in range(8)]
                return await asyncio.gather(*asked)

        for library, address in ((over_grpc_async, self.server.grpc), (over_http_async, self.server.http)):
            for result in asyncio.run(ask(library, address)):
                self.check(result)
        calls = [self.clients[over_http].async_infer(MODEL, self.inputs(over_http)) for _ in range(4)]
        for call in calls:
            self.check(call.get_result())
        answers = queue.Queue()
        for _ in range(4):
            self.clients[over_grpc].async_infer(
                MODEL, self.inputs(over_grpc), callback=lambda result, error: answers.put((result, error))
            )
        for _ in range(4):
            result, error = answers.get(timeout=30)
            self.assertIsNone(error)
            self.check(result)

    def test_a_stream_answers_in_order_and_outlives_a_failure(self):
        answers = queue.Queue()
        with over_grpc.InferenceServerClient(self.server.grpc) as client:
            client.start_stream(callback=lambda result, error: answers.put((result, error)), stream_timeout=60)
            for at in range(20):
                model = "no-such-model" if at == 7 else MODEL
                client.async_stream_infer(
                    model, self.inputs(over_grpc, at % 3 + 1), request_id=str(at), enable_empty_final_response=True
                )
            for at in range(20):
                result, error = answers.get(timeout=30)
                if at == 7:
                    self.assertIn("no-such-model", str(error))
                    continue
                self.assertIsNone(error)
                response = result.get_response()
                self.assertEqual(response.id, str(at))
                self.assertTrue(response.parameters["triton_final_response"].bool_param)
                self.check(result, at % 3 + 1)
            client.stop_stream()

    def test_an_asynchronous_stream_does_so_too(self):
        async def ask():
            async def requests():
                for at in range(5):
                    yield {"model_name": MODEL, "inputs": self.inputs(over_grpc_async), "request_id": str(at)}

            async with over_grpc_async.InferenceServerClient(self.server.grpc) as client:
                return [answer async for answer in client.stream_infer(requests())]

        answers = asyncio.run(ask())
        self.assertEqual([result.get_response().id for result, _ in answers], list("01234"))
        for result, error in answers:
            self.assertIsNone(error)
            self.check(result)

    def test_classes_come_with_their_labels(self):
        rows = values("FP32")
        for library, client in self.clients.items():
            asked = [library.InferRequestedOutput("OUTPUT_FP32", class_count=2)]
            classes = client.infer(MODEL, self.inputs(library), outputs=asked).as_numpy("OUTPUT_FP32")
            self.assertEqual(classes.shape, (2, 2))
            for row, texts in zip(rows, classes):
                for text, index in zip(texts, np.argsort(-row)):
                    value, place, label = (text.decode() if isinstance(text, bytes) else text).split(":")
                    self.assertAlmostEqual(float(value), float(row[index]), places=5)
                    self.assertEqual((int(place), label), (index, LABELS[index]))

    def test_metadata_configuration_and_statistics(self):
        grpc, http = self.clients[over_grpc], self.clients[over_http]
        config = grpc.get_model_config(MODEL, as_json=True)["config"]
        self.assertEqual(config["max_batch_size"], 16)
        plain = http.get_model_config(MODEL)
        self.assertEqual([entry["data_type"] for entry in plain["input"]], [e["data_type"] for e in config["input"]])
        self.assertFalse(plain["model_transaction_policy"]["decoupled"])
        self.assertIn("statistics", grpc.get_server_metadata().extensions)
        self.assertEqual(list(grpc.get_server_metadata().extensions), http.get_server_metadata()["extensions"])
        before = grpc.get_inference_statistics(MODEL).model_stats[0]
        for library, client in self.clients.items():
            client.infer(MODEL, self.inputs(library, 3))
        after = grpc.get_inference_statistics(MODEL).model_stats[0]
        count = lambda stats: stats.inference_stats.success.count
        self.assertEqual((count(after) - count(before), after.inference_count - before.inference_count), (2, 6))
        self.assertGreater(after.inference_stats.compute_infer.ns, before.inference_stats.compute_infer.ns)
        self.assertGreaterEqual(after.last_inference, before.last_inference)
        self.assertIn(3, [batch.batch_size for batch in after.batch_stats])
        for name in (MODEL, ""):
            [told] = http.get_inference_statistics(name)["model_stats"]
            self.assertEqual(told["inference_count"], after.inference_count)

    def test_a_model_is_unloaded_and_loaded(self):
        state = {over_grpc: lambda index: index.models[0], over_http: lambda index: index[0]}
        for library, client in self.clients.items():
            client.unload_model(MODEL)
            self.assertFalse(client.is_model_ready(MODEL))
            entry = state[library](client.get_model_repository_index())
            read = entry.get if isinstance(entry, dict) else lambda key, entry=entry: getattr(entry, key)
            self.assertEqual((read("state"), read("reason")), ("UNAVAILABLE", "unloaded"))
            with self.assertRaisesRegex(InferenceServerException, "unloaded"):
                client.infer(MODEL, self.inputs(library))
            client.load_model(MODEL)
            self.assertTrue(client.is_model_ready(MODEL))
            self.check(client.infer(MODEL, self.inputs(library)))
            client.unload_model("no-such-model")
            with self.assertRaisesRegex(InferenceServerException, "failed to poll from model repository"):
                client.load_model("no-such-model")
            with self.assertRaisesRegex(InferenceServerException, "not offered"):
                client.load_model(MODEL, config="{}", files={"file:1/model.onnx": b"x"})
            self.assertTrue(client.is_model_ready(MODEL), "what serves serves on")

    def test_settings_are_read_and_changed(self):
        for library, client in self.clients.items():
            plain = {} if library is over_http else {"as_json": True}
            read = (lambda found: found) if library is over_http else (
                lambda found: {key: entry.get("value") for key, entry in found["settings"].items()}
            )
            client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"], "trace_rate": "1"})
            found = read(client.get_trace_settings(model_name=MODEL, **plain))
            self.assertEqual(found["trace_level"], ["TIMESTAMPS"])
            client.infer(MODEL, self.inputs(library), request_id=f"traced-{library.__name__}")
            self.assertIn(f"traced-{library.__name__}", self.server.log())
            client.update_trace_settings(settings={"trace_level": None, "trace_rate": None})
            client.infer(MODEL, self.inputs(library), request_id=f"silent-{library.__name__}")
            self.assertNotIn(f"silent-{library.__name__}", self.server.log())
            with self.assertRaises(InferenceServerException):
                client.update_trace_settings(settings={"trace_level": ["TENSORS"]})
            client.update_log_settings({"log_verbose_level": 1, "log_info": False})
            found = client.get_log_settings(**plain)
            found = found if library is over_http else found["settings"]
            level = found["log_verbose_level"]
            self.assertEqual(level if library is over_http else level["uint32_param"], 1)
            client.update_log_settings({"log_verbose_level": 0, "log_info": True})
            with self.assertRaises(InferenceServerException):
                client.update_log_settings({"log_format": "xml"})

    def test_tensors_lie_in_shared_memory(self):
        array = values("FP32", 4)
        for library, client in self.clients.items():
            region = shared_memory.create_shared_memory_region("both", "/manpasik-test", 2 * array.nbytes)
            try:
                shared_memory.set_shared_memory_region(region, [array])
                client.register_system_shared_memory("both", "/manpasik-test", 2 * array.nbytes)
                others = self.inputs(library, 4)[1:]
                tensor = library.InferInput("INPUT_FP32", list(array.shape), "FP32")
                tensor.set_shared_memory("both", array.nbytes)
                asked = library.InferRequestedOutput("OUTPUT_FP32")
                asked.set_shared_memory("both", array.nbytes, offset=array.nbytes)
                result = client.infer(MODEL, [tensor, *others], outputs=[asked])
                self.assertIsNotNone(result.get_output("OUTPUT_FP32"))
                got = shared_memory.get_contents_as_numpy(region, np.float32, [8, 2])
                np.testing.assert_array_equal(got, np.concatenate([array, array]))
                tensor.set_shared_memory("both", array.nbytes, offset=array.nbytes + 1)
                with self.assertRaisesRegex(InferenceServerException, "not within shared memory region"):
                    client.infer(MODEL, [tensor, *others])
                status = client.get_system_shared_memory_status()
                listed = status.regions if library is over_grpc else [entry["name"] for entry in status]
                self.assertIn("both", listed)
                client.unregister_system_shared_memory("both")
                self.assertFalse(client.get_system_shared_memory_status(**({} if library is over_http else {"as_json": True})))
            finally:
                shared_memory.destroy_shared_memory_region(region)

    def test_memory_of_a_gpu_is_refused_in_words(self):
        for client in self.clients.values():
            with self.assertRaisesRegex(InferenceServerException, "GPU cannot be shared"):
                client.register_cuda_shared_memory("gpu", b"AAAA", 0, 8)
            client.unregister_cuda_shared_memory()

    def test_a_raw_body_is_the_only_input(self):
        # The identity has many inputs, which a raw body cannot tell apart: the refusal says so.
        url = f"http://{self.server.http}/v2/models/{MODEL}/infer"
        asked = urllib.request.Request(url, data=b"\0" * 8, headers={"Inference-Header-Content-Length": "0"})
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(asked, timeout=30)
        self.addCleanup(refused.exception.close)
        self.assertEqual(refused.exception.code, 400)
        self.assertIn("one input", json.load(refused.exception)["error"])


if __name__ == "__main__":
    unittest.main()
