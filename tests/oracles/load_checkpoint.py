"""An independent reader of checkpoints: loads one into a PyTorch DenseNet.

    python3 load_checkpoint.py FOLDER       a folder that `test_checkpoint FOLDER` filled
    python3 load_checkpoint.py FILE         any checkpoint

Checks the file's last 32 bytes (where the xxhash module is installed), builds the net that
scripts/densenet.py makes of the tensors' names and shapes, and, when logits.txt stands beside the
file, compares an evaluation of the same made-up images. Ends with 77 (skipped) without torch.
"""
import pathlib
import sys

try:
    import h5py
    import numpy as np
    import torch
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

tests = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = str(tests / "golden"), str(tests.parent / "scripts")
from densenet import DenseNet
from make_golden import uniform

TOLERANCE = 1e-5  # of the largest logit: a few float32 roundings in each of a few layers
MAGIC = b"dn_dist XXH3-64 "


def check_seal(path):
    data = path.read_bytes()
    assert data[-32:-16] == MAGIC, f"{path}: found no checksum at the end"
    try:
        import xxhash
    except ImportError:
        return "checksum not tested: no module xxhash"
    assert xxhash.xxh3_64_hexdigest(data[:-32]).encode() == data[-16:], f"{path}: wrong checksum"
    return "checksum right"


def check_logits(net, path):
    """test_checkpoint.c drew 2 images of 16x16 as tensor 0 of seed 1."""
    expected = np.loadtxt(path).reshape(2, -1)
    images = uniform((2, 3, 16, 16), 2.0, 1, 0)
    with torch.no_grad():
        found = net.eval()(torch.from_numpy(images)).numpy()
    error = np.abs(found - expected).max() / np.abs(expected).max()
    assert error <= TOLERANCE, f"logits: error {error:.2g} > {TOLERANCE}"
    return f"logits agree to {error:.1g}"


def main():
    path = pathlib.Path(sys.argv[1])
    if path.is_dir():
        path = sorted(path.glob("checkpoint-*.h5"))[-1]
    said = [check_seal(path)]
    with h5py.File(path) as file:
        state = {k: torch.from_numpy(np.asarray(v[()])) for k, v in file["model"].items()}
        vectors = {name: {k: v.shape for k, v in group.items()}
                   for name, group in file["optimizer"].items()}
        step = int(file.attrs["step"])
    net = DenseNet(state)
    parameters = {k: tuple(p.shape) for k, p in net.named_parameters()}
    for name, shapes in vectors.items():
        assert shapes == parameters, f"{name}: found other tensors than the parameters"
    assert all(int(v) == step for k, v in state.items() if k.endswith("num_batches_tracked"))
    if (path.parent / "logits.txt").exists():
        said.append(check_logits(net, path.parent / "logits.txt"))
    count = sum(p.numel() for p in net.parameters())
    print(f"{path.name}: step {step}, {count} parameters, {', '.join(said)}")


main()
