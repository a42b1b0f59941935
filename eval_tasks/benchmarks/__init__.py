"""One module a benchmark, with readers of its published data and its protocols as `Benchmark`s; imports no torch."""
