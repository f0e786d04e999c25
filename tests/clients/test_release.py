"""A release from a notebook to everybody and back: MLflow's own client uploads, tritonclient asks all the while.

Versions multiply by a number of their own, so that an answer shows which one gave it. Counted are failed calls, answers
that are not those of the version they name, and callers who were moved back while a version was going up.
"""

import json
import pathlib
import tempfile
import threading
import time
import unittest
import urllib.request

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from serving import Server
from test_mlflow import Person, command, wait

POLICY = """
[shadow]
time_s = 0.5
[canary]
steps = [25, 50, 100]
step_s = 0.8
[rollback]
answers_min = 20
window_s = 5.0
latency_us_free = 1000000
"""
# Version 2 agrees with 1 within the tolerance, 3 does not, 4 fails on what callers send.
SCALES = {"1": 1.0, "2": 1.04, "3": 5.0, "4": 1.05}
X = np.full((1, 3), 2, np.float32)
FACES = ["HTTP", "gRPC"]
CALLERS = {face: [f"{face} {at}" for at in range(24)] for face in FACES}


def ask(library, client, model, caller, **more):
    """The first number of an answer, and the version that says so."""
    x = library.InferInput("x", X.shape, "FP32")
    x.set_data_from_numpy(X)
    answer = client.infer(model, [x], headers={"x-user-id": caller}, **more)
    told = answer.get_response()
    version = told["model_version"] if isinstance(told, dict) else told.model_version
    return float(answer.as_numpy("y")[0, 0]), version


class Traffic:
    """Callers over both faces of the protocol without a pause."""

    def __init__(self, server, model):
        self.model, self.over = model, threading.Event()
        self.faults, self.answers = [], []
        faces = [("HTTP", triton_http, server.http), ("gRPC", triton_grpc, server.grpc)]
        self.threads = [threading.Thread(target=self.call, args=face) for face in faces]
        for thread in self.threads:
            thread.start()

    def call(self, face, library, address):
        client = library.InferenceServerClient(address)
        while not self.over.is_set():
            for caller in CALLERS[face]:
                try:
                    value, version = ask(library, client, self.model, caller)
                    if abs(value - 6 * SCALES[version]) > 1e-4:
                        self.faults.append(f"version {version} answered {value}")
                    self.answers.append((caller, version))
                except Exception as error:  # every failure counts
                    self.faults.append(repr(error))
        client.close()

    def since(self, mark):
        """Versions that each caller met after so many answers, one after another without repetition."""
        met = {caller: [] for callers in CALLERS.values() for caller in callers}
        for caller, version in self.answers[mark:]:
            if met[caller][-1:] != [version]:
                met[caller].append(version)
        return met

    def mark(self):
        return len(self.answers)

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


class Release(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def version(self, number):
        found = command(self.server, "models", "versions", self.model)
        return next(one for one in found if one["version"] == number)

    def becomes(self, number, state, seconds=40):
        """The version, once it is in that state."""
        def check():
            found = self.version(number)
            return found if found["state"] == state else None
        return wait(f"version {number} is {state}", check, seconds)

    def released(self, number, way):
        self.bob.command("models", "approve", self.model, number, "--why", "read the report")
        return self.ann.command("models", "promote", self.model, number, *way)

    def links(self, number, action):
        links = command(self.server, "models", "audit", self.model)
        return [link for link in links if link["subject"] == f"{self.model}/{number}" and link["action"] == action]

    def test_a_version_goes_up_step_by_step_and_bad_ones_come_back_unnoticed(self):
        server, self.model = self.server, "stepwise"
        self.ann, self.bob = (Person(server, name, "data_scientist") for name in ("ann", "bob"))
        root = Person(server, "root", "admin")
        self.assertEqual(self.ann.mlflow(self.model, "several", "1,1.04,5", 1.05), [1, 2, 3, 4])
        for number in SCALES:
            self.becomes(int(number), "staged")
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "policy.toml"
            file.write_text(POLICY)
            self.assertIn("admin", self.ann.refused("models", "policy", self.model, "--set", file))
            file.write_text(POLICY.replace("steps", "steeps"))
            self.assertIn("steeps", root.refused("models", "policy", self.model, "--set", file))
            file.write_text(POLICY)
            root.command("models", "policy", self.model, "--set", file, "--why", "quick steps for a test")
        self.released(1, [])
        wait("version 1 answers for the name", self.answers)
        traffic = Traffic(server, self.model)
        try:
            self.goes_up(traffic)
            self.comes_back(traffic, 3, "agreement")
            self.comes_back(traffic, 4, "errors")
        finally:
            traffic.end()
        self.assertEqual(traffic.faults, [], "nobody has noticed anything")
        self.assertGreater(len(traffic.answers), 500)
        self.assertEqual({version for _, version in traffic.answers}, {"1", "2", "3"}, "4 has never answered")
        self.pinned()
        self.deleted(3)
        self.assertGreater(command(server, "models", "audit", "--verify")["links"], 20)

    def answers(self, **more):
        client = triton_http.InferenceServerClient(self.server.http)
        try:
            return ask(triton_http, client, self.model, "somebody", **more)
        except triton_http.InferenceServerException:
            return None
        finally:
            client.close()

    def goes_up(self, traffic):
        mark = traffic.mark()
        self.assertEqual(self.released(2, ["--shadow"])["state"], "shadow")
        self.becomes(2, "live")
        wait("it answers everybody", lambda: self.answers()[1] == "2", 5)
        time.sleep(0.5)
        for caller, met in traffic.since(mark).items():
            self.assertIn(met, (["1", "2"], ["2"]), f"{caller} was moved back")
        who = {link["who"] for link in self.links(2, "release.step")}
        self.assertEqual((who, len(self.links(2, "release.step"))), ({"release"}, 2))

    def comes_back(self, traffic, number, why):
        mark, start = traffic.mark(), time.monotonic()
        self.assertEqual(self.released(number, [])["state"], "canary", "the careful way, where one is live")
        reason = self.becomes(number, "rolled_back", 30)["reason"]
        self.assertIn(why, reason)
        self.assertLess(time.monotonic() - start, 30)
        (link,) = self.links(number, "release.rollback")
        self.assertEqual((link["who"], why in link["why"]), ("release", True))
        wait("version 2 answers everybody", lambda: self.answers()[1] == "2", 5)
        time.sleep(0.5)
        for caller, met in traffic.since(mark).items():
            bad = str(number)
            self.assertIn(met, (["2"], ["2", bad, "2"], [bad, "2"]), f"{caller} was moved more than there and back")

    def pinned(self):
        self.ann.command("models", "pin", self.model, 1, "--cartridge", "01:01", "--why", "the old electrodes")
        pinned = {"parameters": {"cartridge_type": "01:01"}}
        wait("the pin", lambda: self.answers(**pinned)[1] == "1", 5)
        other = {"parameters": {"cartridge_type": "01:02"}}
        self.assertEqual((self.answers(**other)[1], self.answers()[1]), ("2", "2"))
        self.ann.command("models", "unpin", self.model, "--cartridge", "01:01")
        wait("no pin", lambda: self.answers(**pinned)[1] == "2", 5)

    def deleted(self, number):
        self.assertIsNotNone(self.answers(model_version=str(number)))
        request = urllib.request.Request(
            f"http://{self.server.http}/api/2.0/mlflow/model-versions/delete",
            json.dumps({"name": self.model, "version": str(number)}).encode(),
            {"Authorization": f"Bearer {self.ann.token}", "Content-Type": "application/json"},
            method="DELETE",
        )
        urllib.request.urlopen(request).close()
        wait("it is unloaded", lambda: self.answers(model_version=str(number)) is None, 5)


if __name__ == "__main__":
    unittest.main()
