"""What is postponed is not loaded by an import, and is all there once something of it is used."""

import subprocess
import sys

import pytest

CASES = {
    "paho asks for no proxy": """
import paho.mqtt.client
assert "http.client" not in sys.modules
import urllib.request
assert "http.client" not in sys.modules
assert isinstance(urllib.request.getproxies(), dict)
assert "http.client" in sys.modules
assert urllib.request.Request("http://a.example/b").host == "a.example"
""",
    "numpy without its documentation": """
import numpy
assert numpy.array([1.0, 2.0]).sum() == 3.0
from numpy._core import _add_newdocs
assert callable(_add_newdocs.add_newdoc)
assert numpy.ndarray.sum.__doc__
""",
    "what is loaded stays": """
import urllib.request as before
postpone("urllib.request")
assert sys.modules["urllib.request"] is before
""",
    "what is not there is said when it is used": """
postpone("urllib.nonsense")
import urllib.nonsense
try:
    urllib.nonsense.anything
except ModuleNotFoundError as error:
    assert error.name == "urllib.nonsense"
else:
    raise AssertionError("it was there")
""",
}


@pytest.mark.parametrize("case", CASES)
def test_a_postponed_module(case: str) -> None:
    later = "" if case == "what is loaded stays" else "for name in LATER:\n    postpone(name)\n"
    script = f"import sys\nfrom edge_agent.shell.postponed import LATER, postpone\n{later}{CASES[case]}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
