"""`python -m tests.benchmarks.bandit --json`: the device's bandits beside Vowpal Wabbit, on a log and on sets."""

import os

# As on a device (edge_agent/start.py), and before numpy is loaded: for small matrices threads cost more than they give.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
