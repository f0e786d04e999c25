"""Two servers on one registry: both split callers alike while a version is being released, and so does one that was killed
and started again in the middle. On PostgreSQL where `MANPASIK_TEST_POSTGRES` names a server, else on one SQLite file."""

import hashlib
import json
import os
import pathlib
import shutil
import tempfile
import unittest
import urllib.request

import numpy as np
import tritonclient.http as triton

from serving import ROOT, Server
from test_mlflow import command, wait

MODEL = "sensor-quality"
CALLERS = [f"caller {at}" for at in range(40)]
# The share stays where it is: nothing here waits for time to pass.
POLICY = "[canary]\nsteps = [50, 100]\nstep_s = 3600.0\ncompared = 0\n[rollback]\nlatency_us_free = 10000000\n"


class Replicas(unittest.TestCase):
    def setUp(self):
        self.shared = shared = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (shared / "bundles").mkdir()
        database = os.environ.get("MANPASIK_TEST_POSTGRES") or f"sqlite:{shared / 'registry.sqlite'}"
        settings = {
            "MANPASIK__REGISTRY__DATABASE": database,
            "MANPASIK__REGISTRY__ARTIFACTS": str(shared / "artifacts"),
        }
        # What the command line reads.
        for name, value in settings.items():
            self.addCleanup(os.environ.pop, name, None)
            os.environ[name] = value
        self.policy = shared / "policy.toml"
        self.policy.write_text(POLICY)
        self.servers = [Server(shared / "bundles", **settings) for _ in range(2)]
        for server in self.servers:
            self.addCleanup(server.stop)

    def do(self, *arguments):
        return command(self.servers[0], "models", *arguments)

    def bundle(self, version):
        """A copy of the shipped bundle as that version."""
        [shipped] = (ROOT / "bundles" / MODEL).iterdir()
        copy = self.shared / version
        shutil.copytree(shipped, copy)
        config = (copy / "model.toml").read_text().replace(shipped.name, version).encode()
        (copy / "model.toml").write_bytes(config)
        manifest = json.loads((copy / "manifest.json").read_text())
        manifest["files"]["model.toml"] = {"sha256": hashlib.sha256(config).hexdigest(), "size": len(config)}
        (copy / "manifest.json").write_text(json.dumps(manifest))
        return copy

    def uploaded(self, version):
        bundle = self.bundle(version)
        number = self.do("push", bundle)["version"]
        found = lambda: next(one for one in self.do("versions", MODEL) if one["version"] == number)
        wait("the gates", lambda: found()["state"] == "staged")
        self.do("approve", MODEL, number, "--why", "read the report")
        return number

    def version(self, server, caller, version=""):
        """The version that answers a caller; none, where nothing does."""
        client = triton.InferenceServerClient(server.http)
        try:
            told = client.get_model_metadata(MODEL, model_version=str(version))
            inputs = []
            for spec in told["inputs"]:
                shape = [1, *(4 if size < 0 else size for size in spec["shape"][1:])]
                tensor = triton.InferInput(spec["name"], shape, spec["datatype"])
                tensor.set_data_from_numpy(np.ones(shape, np.float32))
                inputs.append(tensor)
            answer = client.infer(MODEL, inputs, model_version=str(version), headers={"x-user-id": caller})
            return int(answer.get_response()["model_version"])
        except triton.InferenceServerException:
            return None
        finally:
            client.close()

    def split(self, server):
        return {caller: self.version(server, caller) for caller in CALLERS}

    def releases(self, server):
        with urllib.request.urlopen(f"http://{server.http}/v1/registry/releases") as answer:
            return json.load(answer)["releases"]

    def test_a_canary_is_one_on_every_replica_and_after_a_crash(self):
        one, two = self.servers
        first = self.uploaded("MPS-SENSOR-QUALITY-v2.0.0-FP32")
        self.do("policy", MODEL, "--set", self.policy)
        self.do("promote", MODEL, first, "--now")
        for server in self.servers:
            wait("version 1 is live", lambda: self.version(server, "somebody") == first, 20)
        second = self.uploaded("MPS-SENSOR-QUALITY-v2.0.1-FP32")
        for server in self.servers:
            wait("version 2 is loaded", lambda: self.version(server, "somebody", second) == second, 20)
        self.do("promote", MODEL, second, "--canary")
        for server in self.servers:
            wait("callers are split", lambda: set(self.split(server).values()) == {first, second}, 20)
        before = self.split(one)
        self.assertEqual(self.split(two), before, "a caller keeps its version on every replica")
        [release] = self.releases(two)
        self.assertEqual((release["version"], release["share_percent"]), (second, 50))
        one.crash()
        wait("it serves again", lambda: self.split(one) == before, 20)
        self.assertEqual(self.releases(one), [release], "state, share and time of the release are kept")
        self.assertEqual(self.split(two), before, "nobody else was moved")
        self.do("rollback", MODEL, "--why", "enough seen")
        for server in self.servers:
            wait("version 1 answers everybody", lambda: set(self.split(server).values()) == {first}, 20)


if __name__ == "__main__":
    unittest.main()
