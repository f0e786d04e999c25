"""Models loaded and unloaded many times over: the memory they took is given back.

`MANPASIK_CYCLES` says how often; `make chaos` asks for 1,000.
"""

import os
import tempfile
import time
import unittest

import tritonclient.grpc as over_grpc

from serving import ROOT, Server, write_identity

CYCLES = int(os.environ.get("MANPASIK_CYCLES", "200"))
# As much more than after the tenth cycle may be held after the last one.
GROWTH_MAX = 0.05
SETTLED = 10


class Cycles(unittest.TestCase):
    def cycled(self, bundles, model):
        server = Server(bundles)
        self.addCleanup(server.stop)
        client = over_grpc.InferenceServerClient(server.grpc)
        self.addCleanup(client.close)
        if not client.is_model_ready(model):
            self.skipTest(f"{model} cannot be served here")
        held = {}
        for cycle in range(1, CYCLES + 1):
            client.unload_model(model)
            client.load_model(model)
            if cycle in (SETTLED, CYCLES):
                self.assertTrue(client.is_model_ready(model))
                # Allocators give back with a delay, and never hold less than is used.
                held[cycle] = min(server.resident() for _ in range(20) if time.sleep(0.02) is None)
        growth = held[CYCLES] / held[SETTLED] - 1
        print(f"{model}: {held[SETTLED] / 2**20:.1f} MiB, after {CYCLES} cycles {growth:+.1%}", flush=True)
        self.assertLess(growth, GROWTH_MAX, held)

    def test_of_a_model_on_candle(self):
        self.cycled(ROOT / "bundles", "thyroid")

    def test_of_a_model_on_onnx_runtime(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.cycled(write_identity(folder), "identity")


if __name__ == "__main__":
    unittest.main()
