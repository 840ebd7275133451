"""The side of the benchmarks that imports torch, the engine and the peers; each module runs in a process of its own."""
