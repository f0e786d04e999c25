"""Unmodified clients over encrypted ports, showing certificates of their own where they must."""

import pathlib
import shutil
import subprocess
import tempfile
import unittest

import numpy as np
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient

from serving import Server

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]


def certificate(folder, name, *more):
    """A certificate of `name` and its key, in files of that name."""
    command = ["openssl", "req", "-x509", *KEY, "-subj", f"/CN={name}", *more]
    files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
    subprocess.run([*command, *files], check=True, capture_output=True)


def vouched(folder, name, authority):
    by = ["-CA", str(folder / f"{authority}.pem"), "-CAkey", str(folder / f"{authority}.key")]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
    certificate(folder, name, *by, *names)


@unittest.skipIf(shutil.which("openssl") is None, "openssl, which makes the certificates, is not installed")
class EncryptedPorts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.files = pathlib.Path(cls.folder.name)
        for authority in ("ours", "theirs"):
            certificate(cls.files, authority)
        vouched(cls.files, "server", "ours")
        vouched(cls.files, "reader", "theirs")
        settings = {"CERTIFICATE": "server.pem", "KEY": "server.key", "CLIENT_AUTHORITY": "theirs.pem"}
        settings = {f"MANPASIK__SERVER__TLS__{key}": str(cls.files / name) for key, name in settings.items()}
        cls.server = Server(**settings)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.folder.cleanup()

    def path(self, name):
        return str(self.files / name)

    def check(self, client, kind, **form):
        self.assertTrue(client.is_server_ready())
        inputs = []
        for wanted in client.get_model_metadata("thyroid", **form)["inputs"]:
            shape = [1, int(wanted["shape"][-1])]
            inputs.append(kind.InferInput(wanted["name"], shape, "FP32"))
            inputs[-1].set_data_from_numpy(np.ones(shape, np.float32))
        answer = client.infer("thyroid", inputs).get_response(**form)
        self.assertEqual(answer["model_name"], "thyroid")

    def test_grpc(self):
        own = {"private_key": self.path("reader.key"), "certificate_chain": self.path("reader.pem")}
        client = grpcclient.InferenceServerClient(
            self.server.grpc, ssl=True, root_certificates=self.path("ours.pem"), **own
        )
        self.check(client, grpcclient, as_json=True)
        nobody = grpcclient.InferenceServerClient(self.server.grpc, ssl=True, root_certificates=self.path("ours.pem"))
        with self.assertRaises(Exception):
            nobody.is_server_ready(client_timeout=10)

    def test_http(self):
        own = {"keyfile": self.path("reader.key"), "certfile": self.path("reader.pem")}
        options = {"ca_certs": self.path("ours.pem"), **own}
        client = httpclient.InferenceServerClient(self.server.http, ssl=True, ssl_options=options)
        self.check(client, httpclient)
        nobody = httpclient.InferenceServerClient(
            self.server.http, ssl=True, ssl_options={"ca_certs": self.path("ours.pem")}
        )
        with self.assertRaises(Exception):
            nobody.is_server_ready()


if __name__ == "__main__":
    unittest.main()
