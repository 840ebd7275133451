"""The engine: trains a config and emits events. Knows devices and the recipe; never the paper's results."""

import os

# Losing a process or a store is ours to say, in one line; PyTorch's logs add stacks of C++. Read when torch is loaded.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
