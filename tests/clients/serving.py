"""A server of the tests' own, and a bundle for it that has a tensor of every datatype.

The bundle is written here byte by byte, from the descriptions of its formats alone: an ONNX graph, golden
tensors, a manifest. That the server takes it says that it reads what others write.
"""

import hashlib
import json
import os
import pathlib
import re
import struct
import subprocess
import tempfile

import ml_dtypes
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
LISTENING = re.compile(r"listening grpc=(\S+) http=(\S+)")
LABELS = ["calm", "wild"]
# Datatype of the protocol: number in ONNX, name in safetensors. The first has labels.
DATATYPES = {
    "FP32": (1, "F32"),
    "BOOL": (9, "BOOL"),
    "UINT8": (2, "U8"),
    "UINT16": (4, "U16"),
    "UINT32": (12, "U32"),
    "UINT64": (13, "U64"),
    "INT8": (3, "I8"),
    "INT16": (5, "I16"),
    "INT32": (6, "I32"),
    "INT64": (7, "I64"),
    "FP16": (10, "F16"),
    "BF16": (16, "BF16"),
    "FP64": (11, "F64"),
    "BYTES": (8, None),
}


class Server:
    """The program on free ports with a data folder of its own, over `bundles` or the shipped ones."""

    def __init__(self, bundles=None, **settings):
        self.data = tempfile.TemporaryDirectory()
        self.bundles, self.settings = bundles, settings
        self.start()

    def start(self):
        program = [str(ROOT / "target/release/manpasik"), "serve", "--data-dir", self.data.name]
        program += ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        program += [] if self.bundles is None else ["--bundles", str(self.bundles)]
        log = open(pathlib.Path(self.data.name) / "log", "a")
        self.child = subprocess.Popen(
            program,
            cwd=ROOT,
            env={**os.environ, **self.settings},
            stdout=subprocess.PIPE,
            stderr=log,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        log.close()
        found = next(filter(None, map(LISTENING.search, self.child.stdout)), None)
        assert found, f"the server ended before it said where it listens: {self.log()}"
        self.grpc, self.http = found[1], found[2]

    def crash(self):
        """Ends at once, and starts again over the same data."""
        self.child.kill()
        self.child.wait()
        self.child.stdout.close()
        self.start()

    def resident(self):
        """Bytes of memory that the program holds."""
        status = pathlib.Path(f"/proc/{self.child.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def log(self):
        return (pathlib.Path(self.data.name) / "log").read_text()

    def restart(self, between=lambda: None):
        """Ends the program in order, does what comes between, and starts it over the same data."""
        code, log = self.end()
        assert code == 0, f"the server ended with {code} when asked to stop: {log}"
        between()
        self.start()

    def end(self):
        self.child.terminate()
        code = self.child.wait(timeout=30)
        self.child.stdout.close()
        return code, self.log()

    def stop(self):
        code, log = self.end()
        self.data.cleanup()
        assert code == 0, f"the server ended with {code} when asked to stop: {log}"


def values(datatype, rows=2):
    """`rows` rows of two elements as numpy has them."""
    count = rows * 2
    if datatype == "BYTES":
        return np.array([("é" * at + str(at)).encode() for at in range(count)], dtype=object).reshape(rows, 2)
    if datatype == "BOOL":
        return np.array([at % 3 == 0 for at in range(count)]).reshape(rows, 2)
    if datatype in ("FP16", "FP32", "FP64", "BF16"):
        kind = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float64, "BF16": ml_dtypes.bfloat16}[datatype]
        # Halves, which every one of these holds exactly.
        return (np.arange(count).reshape(rows, 2) - 1.5).astype(kind)
    kind = np.dtype(datatype.lower())
    ends = np.iinfo(kind)
    return np.resize(np.array([ends.min, ends.max, 1, 7], dtype=kind), count).reshape(rows, 2)


def _varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def _number(field, value):
    return _varint(field << 3) + _varint(value)


def _bytes(field, value):
    value = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def graph(nodes, inputs, outputs):
    """An ONNX graph: `nodes` of (operator, inputs, outputs, lists of numbers as attributes), and for each tensor of
    `inputs` and `outputs` its datatype and dimensions, of which those that are open have a name."""
    text = b""
    for operator, sources, targets, attributes in nodes:
        node = b"".join(_bytes(1, name) for name in sources) + b"".join(_bytes(2, name) for name in targets)
        node += _bytes(4, operator)
        for name, numbers in attributes.items():
            # 7 is the type of a list of whole numbers.
            listed = b"".join(_number(8, number) for number in numbers)
            node += _bytes(5, _bytes(1, name) + listed + _number(20, 7))
        text += _bytes(1, node)
    for field, tensors in ((11, inputs), (12, outputs)):
        for name, (datatype, dims) in tensors.items():
            sizes = [_bytes(1, _bytes(2, dim) if isinstance(dim, str) else _number(1, dim)) for dim in dims]
            kind = _bytes(1, _number(1, DATATYPES[datatype][0]) + _bytes(2, b"".join(sizes)))
            text += _bytes(field, _bytes(1, name) + _bytes(2, kind))
    return _number(1, 8) + _bytes(8, _number(2, 17)) + _bytes(7, text + _bytes(2, "graph"))


def _graph(datatypes):
    """One identity of each datatype."""
    side = lambda name: {f"{name}_{datatype}": (datatype, ["rows", 2]) for datatype in datatypes}
    nodes = [("Identity", [f"INPUT_{datatype}"], [f"OUTPUT_{datatype}"], {}) for datatype in datatypes]
    return graph(nodes, side("INPUT"), side("OUTPUT"))


def _raw(datatype, array):
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(text)) + text for text in array.ravel())
    return array.tobytes()


def _golden(tensors):
    """`tensors` by their names in the file, each with its datatype."""
    header, data, strings = {}, b"", {}
    for name, (datatype, array) in tensors.items():
        raw, stored, shape = _raw(datatype, array), DATATYPES[datatype][1], list(array.shape)
        if stored is None:
            strings[name] = " ".join(["BYTES", *map(str, shape)])
            shape = [len(raw)]
        header[name] = {"dtype": stored or "U8", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    head = json.dumps({"__metadata__": strings, **header}).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + data


def _config(name, inputs, outputs, batching, labels):
    lines = [
        "schema_version = 1",
        f'name = "{name}"',
        f'version = "MPS-{name.upper()}-v1.0.0-FP32"',
        'family = "generic"',
        'engine = "onnx"',
        f'task = "{name}"',
        'intended_use = "Tests only."',
        "synthetic = true",
        f"labels = {json.dumps(labels)}",
    ]
    for side, tensors in (("input", inputs), ("output", outputs)):
        for tensor, (datatype, dims) in tensors.items():
            sizes = [dim if isinstance(dim, int) else -1 for dim in dims]
            lines += [f"[[{side}]]", f'name = "{tensor}"', f'dtype = "{datatype}"', f"dims = {sizes}"]
    lines += ["[batching]", "rows_max = 16", *batching, "[golden]", "tolerance = 0.0"]
    lines += ["[lineage]", "seed = 1", "rows_train = 0", 'trained_with = "tests"']
    return "\n".join(lines).encode()


def write_bundle(folder, name, nodes, inputs, outputs, golden, batching=(), labels=()):
    """A bundle of the graph below `folder`, which is then a folder of bundles."""
    kinds = {f"in.{tensor}": kind for tensor, (kind, _) in inputs.items()}
    kinds |= {f"out.{tensor}": kind for tensor, (kind, _) in outputs.items()}
    files = {
        "model.toml": _config(name, inputs, outputs, batching, list(labels)),
        "model.onnx": graph(nodes, inputs, outputs),
        "golden.safetensors": _golden({tensor: (kinds[tensor], array) for tensor, array in golden.items()}),
        "calibration.json": b"{}",
        "card.md": b"# A bundle of the tests\n",
    }
    entries = {name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in files.items()}
    files["manifest.json"] = json.dumps({"schema_version": 1, "files": entries}).encode()
    place = pathlib.Path(folder) / name / f"MPS-{name.upper()}-v1.0.0-FP32"
    place.mkdir(parents=True)
    for file, data in files.items():
        (place / file).write_bytes(data)
    return pathlib.Path(folder)


def write_identity(folder, datatypes=tuple(DATATYPES)):
    """A bundle that gives back a tensor of each datatype."""
    side = lambda name: {f"{name}_{datatype}": (datatype, ["rows", 2]) for datatype in datatypes}
    nodes = [("Identity", [f"INPUT_{datatype}"], [f"OUTPUT_{datatype}"], {}) for datatype in datatypes]
    golden = {f"{name}_{datatype}": values(datatype) for datatype in datatypes for name in ("in.INPUT", "out.OUTPUT")}
    return write_bundle(folder, "identity", nodes, side("INPUT"), side("OUTPUT"), golden, labels=LABELS)
