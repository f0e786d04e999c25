"""The registry, used by MLflow's own clients (3 and 2) and by the command line, with traffic all the while."""

import json
import os
import pathlib
import subprocess
import threading
import time
import unittest

import numpy as np
import tritonclient.http as triton

from serving import ROOT, Server

PROGRAM = ROOT / "target/release/manpasik"


def wait(what, check, seconds=60):
    """What `check` gives once it gives something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = check()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what}")


class Person:
    """Somebody with a token, a client of MLflow and the command line."""

    def __init__(self, server, name, *roles, client="3"):
        self.server, self.client = server, client
        roles = [word for role in roles for word in ("--role", role)]
        made = command(server, "tokens", "create", name, *roles)
        self.token = made["token"]

    def mlflow(self, model, step, *arguments):
        python = ROOT / f".venv-mlflow{self.client}/bin/python"
        script = pathlib.Path(__file__).with_name("mlflow_calls.py")
        environment = {**os.environ, "MLFLOW_TRACKING_TOKEN": self.token, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
        ran = subprocess.run(
            [python, script, f"http://{self.server.http}", model, step, *map(str, arguments)],
            env=environment, capture_output=True, text=True, timeout=180,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return json.loads(ran.stdout.splitlines()[-1])

    def command(self, *arguments):
        return command(self.server, *arguments, token=self.token)

    def refused(self, *arguments):
        return refused(self.server, *arguments, token=self.token)


def run(server, *arguments, token=None):
    environment = {**os.environ, **({"MANPASIK_TOKEN": token} if token else {})}
    whole = [PROGRAM, "--data-dir", server.data.name, "--json", *map(str, arguments)]
    return subprocess.run(whole, env=environment, capture_output=True, text=True, timeout=60)


def command(server, *arguments, token=None):
    ran = run(server, *arguments, token=token)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def refused(server, *arguments, token=None):
    ran = run(server, *arguments, token=token)
    assert ran.returncode == 1, ran.stdout
    return ran.stderr


def infer(server, model, version=""):
    """The first number that a model gives for a row of ones, and the version that says so."""
    client = triton.InferenceServerClient(server.http)
    try:
        x = triton.InferInput("x", [1, 3], "FP32")
        x.set_data_from_numpy(np.ones((1, 3), np.float32))
        answer = client.infer(model, [x], model_version=str(version))
        return float(answer.as_numpy("y")[0, 0]), answer.get_response()["model_version"]
    finally:
        client.close()


class Traffic:
    """Callers of a model's name without a pause; every answer must be a version's own."""

    def __init__(self, server, model, scales):
        self.server, self.model, self.scales = server, model, scales
        self.answers, self.faults, self.over = {}, [], threading.Event()
        self.threads = [threading.Thread(target=self.call) for _ in range(2)]
        for thread in self.threads:
            thread.start()

    def call(self):
        while not self.over.is_set():
            try:
                value, version = infer(self.server, self.model)
                if value != 3 * self.scales[version]:
                    self.faults.append(f"version {version} answered {value}")
                self.answers[version] = self.answers.get(version, 0) + 1
            except Exception as error:  # every failure counts
                self.faults.append(repr(error))

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join()
        return self.answers, self.faults


class Registry(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def settled(self, person, model, version):
        """How the gates leave a version."""
        def check():
            found = command(self.server, "models", "versions", model)
            (found,) = [one for one in found if one["version"] == version]
            return found if found["state"] not in ("draft", "validating") else None
        return wait(f"the gates of {model}/{version}", check)

    def check_log(self, client):
        model = f"scaled{client}"
        ann = Person(self.server, f"ann{client}", "data_scientist", client=client)
        told = ann.mlflow(model, "log", 1)
        self.assertEqual((told["status"], told["params"], told["auroc"]), ("FINISHED", {"lr": "0.1"}, 0.9))
        self.assertEqual(told["history"], [[0, 0.5], [1, 0.7], [2, 0.9]])
        self.assertEqual((told["found"], told["note"]), ([told["run"]], "read me"))
        self.assertEqual((told["notes"], told["version"]), (["notes/readme.txt"], 1))
        version = self.settled(ann, model, 1)
        self.assertEqual((version["state"], version["user"]), ("staged", f"ann{client}"), version["reason"])
        labels = ann.mlflow(model, "labels", 1)
        for key in ("modelsn", "models1", "runsl"):
            self.assertEqual(labels[key], ["MLmodel", "model.onnx"], key)
        self.assertEqual((labels["loaded"], labels["by_alias"]), (["MatMul"], 1 if isinstance(labels["by_alias"], int) else "1"))
        self.assertIn(model, labels["models"])
        for reserved in ("live", "production"):
            self.assertEqual(labels[reserved]["code"], "PERMISSION_DENIED")
            self.assertIn("nobody but its maker has approved it", labels[reserved]["message"])
        self.assertEqual(labels["no_alias"]["code"], "INVALID_PARAMETER_VALUE")
        self.assertEqual(labels["no_model"]["code"], "RESOURCE_DOES_NOT_EXIST")
        wait("it answers by its number", lambda: self.answers(model, 1))
        self.assertEqual(infer(self.server, model, 1), (3.0, "1"))

    def answers(self, model, version=""):
        try:
            return infer(self.server, model, version)
        except triton.InferenceServerException:
            return None

    def test_what_mlflow_3_logs_is_examined_and_answers_by_its_number(self):
        self.check_log("3")

    def test_what_mlflow_2_logs_is_examined_and_answers_by_its_number(self):
        self.check_log("2")

    def test_a_version_goes_live_by_a_second_person_and_comes_back_without_a_failed_call(self):
        model, server = "released", self.server
        eve, bob = (Person(server, name, "data_scientist") for name in ("eve", "bob"))
        user = Person(server, "user", "user")
        for scale in (1, 2):
            eve.mlflow(model, "log", scale)
            self.assertEqual(self.settled(eve, model, scale)["state"], "staged")
        self.assertIn("cannot approve", eve.refused("models", "approve", model, 1, "--why", "mine"))
        self.assertIn("data_scientist", user.refused("models", "approve", model, 1, "--why", "nice"))
        self.assertIn("not been approved", bob.refused("models", "promote", model, 1))
        self.assertIn("token is not one", refused(server, "models", "promote", model, 1, token="mps_a_b"))
        for version in (1, 2):
            bob.command("models", "approve", model, version, "--why", "read the report")
        eve.command("models", "promote", model, 1)
        wait("version 1 answers for the name", lambda: self.answers(model))
        traffic = Traffic(server, model, {"1": 1.0, "2": 2.0})
        eve.command("models", "promote", model, 2, "--now")
        wait("version 2 answers for the name", lambda: infer(server, model)[1] == "2", 5)
        bob.command("models", "rollback", model, "--why", "too many hot answers")
        wait("version 1 is back", lambda: infer(server, model)[1] == "1", 5)
        answers, faults = traffic.end()
        self.assertEqual(faults, [])
        self.assertTrue(answers.get("1", 0) > 0 and answers.get("2", 0) > 0, answers)
        self.assertEqual(infer(server, model, 2), (6.0, "2"), "the one taken back still answers by its number")
        told = [(link["who"], link["action"]) for link in command(server, "models", "audit", model)]
        for link in [("eve", "version.create"), ("gates", "gates.pass"), ("bob", "version.approve"), ("bob", "model.rollback")]:
            self.assertIn(link, told)
        self.assertGreater(command(server, "models", "audit", "--verify")["links"], len(told))

    def test_what_cannot_be_served_is_rejected_with_its_reason(self):
        model, ann = "refused", Person(self.server, "ann", "data_scientist")
        self.assertEqual(sorted(ann.mlflow(model, "unservable", "")), [1, 2, 3, 4])
        reasons = {}
        for version in (1, 2, 3, 4):
            found = self.settled(ann, model, version)
            self.assertEqual(found["state"], "rejected")
            reasons[version] = found["reason"]
        self.assertIn("[-1, 3] in the graph, not [-1, 4]", reasons[1])
        self.assertIn("infer_signature", reasons[2])
        self.assertIn("skl2onnx.to_onnx", reasons[3])
        self.assertIn("no ONNX graph, or only a part of one", reasons[4])
        self.assertIn("not found", refused(self.server, "models", "report", model, 9))
        gates = command(self.server, "models", "report", model, 1)["gates"]
        self.assertEqual([gate["outcome"] for gate in gates], ["passed"] * 4 + ["failed"])

    def test_only_data_scientists_write(self):
        user = Person(self.server, "reader", "user")
        with self.assertRaisesRegex(AssertionError, "PERMISSION_DENIED"):
            user.mlflow("theirs", "log", 1)
        user.token = "mps_none_such"
        with self.assertRaisesRegex(AssertionError, "UNAUTHENTICATED"):
            user.mlflow("theirs", "state", 1)


if __name__ == "__main__":
    unittest.main()
