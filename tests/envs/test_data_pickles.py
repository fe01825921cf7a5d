"""Tensors and pickles from elsewhere: read exactly as PyTorch reads them, and nothing that is more than data."""

from __future__ import annotations

import io
import os
import pickle
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from jepawm_envs.data.readers.pickles import Sealed, load_pickle
from jepawm_envs.data.readers.torch_files import STORAGES, load_tensor, load_torch
from jepawm_envs.errors import DataError

torch = pytest.importorskip("torch")
TYPES = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")


@pytest.mark.parametrize("name", TYPES)
def test_every_number_type_is_read_as_torch_reads_it(tmp_path, name):
    tensor = (torch.arange(24).reshape(2, 3, 4) % 7).to(getattr(torch, name))
    torch.save(tensor, tmp_path / "x.pth")
    found = load_tensor(tmp_path / "x.pth", 3)
    np.testing.assert_array_equal(found, tensor.numpy())
    assert found.dtype == tensor.numpy().dtype
    assert len(TYPES) == len(STORAGES)


BASE = torch.arange(60.0).reshape(3, 4, 5)


@pytest.mark.parametrize(
    "tensor", [BASE.permute(2, 0, 1), BASE[1:, ::2], BASE[2, 1, 3], BASE[:0], BASE.flatten()[7:9], BASE.unsqueeze(0)]
)
def test_views_are_read_as_torch_reads_them(tmp_path, tensor):
    torch.save(tensor, tmp_path / "x.pth")
    found = load_torch(tmp_path / "x.pth")
    assert found.shape == tuple(tensor.shape)
    np.testing.assert_array_equal(found, tensor.numpy())


def test_collections_of_tensors_are_read(tmp_path):
    shared = torch.arange(6)
    torch.save(OrderedDict(a=shared, b=[shared[2:], 3, "text", None, True]), tmp_path / "x.pth")
    found = load_torch(tmp_path / "x.pth")
    np.testing.assert_array_equal(found["b"][0], found["a"][2:])
    assert found["b"][1:] == [3, "text", None, True]


class Evil:
    """Leaves a file behind when it is loaded by a trusting unpickler."""

    def __init__(self, path: Path, function=os.system):
        self.call = function, (f"touch {path}",)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_runs_something_is_refused_before_it_runs(tmp_path, protocol):
    trace, file = tmp_path / "trace", tmp_path / "seq_lengths.pkl"
    file.write_bytes(pickle.dumps([1, 2, Evil(trace)], protocol=protocol))
    with pytest.raises(
        DataError, match=r"seq_lengths\.pkl is refused or damaged: it asks for posix\.system, which is not"
    ):
        load_pickle(file)
    assert not trace.exists()
    pickle.loads(file.read_bytes())
    assert trace.exists()  # it would have


@pytest.mark.parametrize("name", ["builtins\neval", "builtins\ngetattr", "torch._utils\n_rebuild_tensor", "os\nsystem"])
def test_names_are_refused_even_if_nothing_calls_them(tmp_path, name):
    (tmp_path / "x.pkl").write_bytes(b"c" + name.encode() + b"\n.")
    with pytest.raises(DataError, match="which is not loaded"):
        load_pickle(tmp_path / "x.pkl")


def test_a_pickle_cannot_change_what_it_may_call(tmp_path):
    opcodes = b"\x80\x02cnumpy\ndtype\nN}(X\x09\x00\x00\x00_functionK\x01u\x86b."
    (tmp_path / "x.pkl").write_bytes(opcodes)
    with pytest.raises(DataError, match="it sets _function of a function"):
        load_pickle(tmp_path / "x.pkl")
    assert Sealed(abs)(-3) == 3


@pytest.mark.parametrize(
    "value", [[100, 20, 3], [np.int64(7), np.int32(8)], [np.float64(0.5)], ["T", "L"], {"a": (1,)}]
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_plain_values_and_numpy_numbers_are_read(tmp_path, value, protocol):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(value, protocol=protocol))
    assert load_pickle(tmp_path / "x.pkl") == value


def test_numpy_numbers_of_objects_are_refused(tmp_path):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(np.dtype("O")))
    with pytest.raises(DataError, match="it holds values of type object"):
        load_pickle(tmp_path / "x.pkl")


@pytest.mark.parametrize("cut", [1, 5])
def test_a_cut_pickle_and_a_missing_one_are_sentences(tmp_path, cut):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([1, 2, 3])[:-cut])
    with pytest.raises(DataError, match=r"x\.pkl is refused or damaged: .*\.$"):
        load_pickle(tmp_path / "x.pkl")
    for load in (load_pickle, load_torch):
        with pytest.raises(DataError, match=r"y\.pkl is missing\."):
            load(tmp_path / "y.pkl")


def rebuilt(path: Path, change) -> Path:
    """A saved file with one entry of its archive changed."""
    torch.save(torch.arange(6.0).reshape(2, 3), path)
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    compression = change(entries) or zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def shorten(entries):
    entries["x/data/0"] = entries["x/data/0"][:-4]


def wrong_shape(entries):
    entries["x/data.pkl"] = entries["x/data.pkl"].replace(b"K\x02K\x03\x86", b"K\x02K\x09\x86")


def repeat(entries):  # strides of zero: few elements that would become many
    head = entries["x/data.pkl"].replace(b"K\x02K\x03\x86", b"M\xff\xffM\xff\xff\x86")
    entries["x/data.pkl"] = head.replace(b"K\x03K\x01\x86", b"K\x00K\x00\x86")


def forget(entries):
    del entries["x/data/0"]


def no_description(entries):
    del entries["x/data.pkl"]


def compress(entries):
    return zipfile.ZIP_DEFLATED


def system(entries):
    entries["x/data.pkl"] = pickle.dumps(Evil(Path("trace")), protocol=2)


def other_storage(entries):
    entries["x/data.pkl"] = entries["x/data.pkl"].replace(b"ctorch\nFloatStorage\n", b"X\x05\x00\x00\x00S9999")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shorten, "data/0 holds 5 of 6 elements"),
        (wrong_shape, "does not fit into 6 elements"),
        (repeat, "does not fit into 6 elements"),
        (forget, "data/0"),
        (no_description, r"no data\.pkl"),
        (compress, "is compressed"),
        (system, r"posix\.system"),
        (other_storage, "of type 'S9999'"),
    ],
)
def test_an_archive_that_contradicts_itself_is_refused(tmp_path, change, message):
    path = rebuilt(tmp_path / "x.pth", change)
    with pytest.raises(DataError, match=rf"x\.pth is refused or damaged: .*{message}"):
        load_torch(path)


@pytest.mark.parametrize("name", ["data.pkl", "byteorder", "data/0"])
def test_every_entry_that_is_compressed_is_refused(tmp_path, name):
    path = tmp_path / "x.pth"
    torch.save(torch.arange(6.0), path)
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED if entry == f"x/{name}" else zipfile.ZIP_STORED)
    with pytest.raises(DataError, match=rf"x\.pth is refused or damaged: {name} is compressed"):
        load_torch(path)


def test_a_small_file_cannot_become_a_large_one(tmp_path):
    path, large = tmp_path / "x.pth", 30 * 2**20
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", pickle.dumps(bytes(large), protocol=3))
    assert path.stat().st_size < large / 500
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="is compressed"):
            load_torch(path)
        assert tracemalloc.get_traced_memory()[1] < large / 10
    finally:
        tracemalloc.stop()


def test_big_endian_files_are_read(tmp_path):
    def swap(entries):
        entries["x/byteorder"] = b"big"
        entries["x/data/0"] = np.frombuffer(entries["x/data/0"], "<f4").astype(">f4").tobytes()

    found = load_tensor(rebuilt(tmp_path / "x.pth", swap), 2)
    np.testing.assert_array_equal(found, np.arange(6.0).reshape(2, 3))
    assert found.dtype == np.float32


@pytest.mark.parametrize("place", [0.3, 0.5, 0.999])
def test_a_cut_archive_is_refused(tmp_path, place):
    path = tmp_path / "x.pth"
    torch.save(torch.zeros(1000), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * place)])
    with pytest.raises(DataError, match=r"x\.pth is no archive of PyTorch 1\.6 or later, or is damaged"):
        load_torch(path)


def test_a_changed_byte_of_the_elements_is_noticed(tmp_path):
    path = tmp_path / "x.pth"
    torch.save(torch.arange(1000.0), path)
    content = bytearray(path.read_bytes())
    place = bytes(content).find(np.float32(500).tobytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="Bad CRC-32"):
        load_torch(path)


def test_files_of_before_2020_and_other_contents_are_refused_in_a_sentence(tmp_path):
    torch.save(torch.zeros(3), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(DataError, match="load and save it once with a current PyTorch"):
        load_torch(tmp_path / "old.pth")
    torch.save(torch.nn.Linear(1, 1), tmp_path / "module.pth")
    with pytest.raises(DataError, match=r"it asks for torch\.nn\.modules\.linear\.Linear"):
        load_torch(tmp_path / "module.pth")
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(DataError, match="holds a list instead of a tensor of 3 dimensions"):
        load_tensor(tmp_path / "list.pth", 3)
    torch.save(torch.zeros(2, 2), tmp_path / "flat.pth")
    with pytest.raises(DataError, match=r"holds a tensor of shape \(2, 2\) instead of a tensor of 3 dimensions"):
        load_tensor(tmp_path / "flat.pth", 3)


def test_reading_needs_no_torch(tmp_path):
    import subprocess
    import sys

    torch.save(torch.arange(4), tmp_path / "x.pth")
    code = (
        "import sys; from pathlib import Path; from jepawm_envs.data.readers.torch_files import load_tensor; "
        f"print(load_tensor(Path({str(tmp_path / 'x.pth')!r}), 1).tolist(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[0, 1, 2, 3] False"


def test_a_pickle_with_references_outside_is_refused(tmp_path):
    buffer = io.BytesIO()

    class Outside(pickle.Pickler):
        def persistent_id(self, obj):
            return "elsewhere" if obj == 1 else None

    Outside(buffer).dump([1])
    (tmp_path / "x.pkl").write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match="it refers to something outside of itself"):
        load_pickle(tmp_path / "x.pkl")
