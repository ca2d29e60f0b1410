#!/usr/bin/env python3
"""Turns a state dict of PyTorch, such as torchvision's .pth files, into safetensors.

    pth_to_safetensors.py IN.pth OUT.safetensors          needs torch
"""
import json
import re
import struct
import sys

if len(sys.argv) != 3:
    sys.exit(__doc__.split("\n\n")[1].strip())

import torch

DTYPES = {torch.int64: "I64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
try:
    state = torch.load(sys.argv[1], map_location="cpu", weights_only=True)
except OSError as error:
    sys.exit(f"pth_to_safetensors.py: {error}")
except Exception as error:  # whose kind is another of each torch, of what is damaged
    sys.exit(f"pth_to_safetensors.py: {sys.argv[1]}: found no plain tensors but a pickled model or a damaged file, "
             f"expected what torch.save(model.state_dict(), FILE) writes (torch {torch.__version__}: "
             f"{str(error).splitlines()[0].split('a trusted source. ')[-1]})")
for key in ("model_state_dict", "state_dict", "model"):  # as training scripts save it
    state = state.get(key, state)
# Wrappers put their own names before torchvision's: module., densenet121., model.
state = {re.sub(r"^.*?(?=features\.|classifier\.)", "", name).replace("classifier.0.", "classifier."):
         tensor.float() if tensor.dtype == torch.float64 else tensor
         for name, tensor in state.items() if torch.is_tensor(tensor)}
header, body, end = {"__metadata__": {"format": "pt"}}, [], 0
for name, tensor in sorted(state.items(), key=lambda x: (-x[1].element_size(), x[0])):
    data = tensor.detach().flatten().contiguous().view(torch.uint8).numpy().tobytes()
    header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape),
                    "data_offsets": [end, end + len(data)]}
    body.append(data)
    end += len(data)
text = json.dumps(header, separators=(",", ":")).encode()
text += b" " * (-len(text) % 8)
with open(sys.argv[2], "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text + b"".join(body))
