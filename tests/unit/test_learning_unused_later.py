"""What of NumPy no node uses is not loaded with the models, and works for whoever uses it."""

from __future__ import annotations

import json
import subprocess
import sys

WATCHED = ("numpy.f2py.f2py2e", "numpy.ma.core", "numpy.testing._private.utils")


def loaded_after(code: str) -> tuple[set[str], str]:
    """(watched modules that a fresh interpreter has loaded after `code`, what it printed)."""
    report = f"import json, sys; print(json.dumps([m for m in {WATCHED} if m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    *said, names = done.stdout.splitlines()
    return set(json.loads(names)), "\n".join(said)


def test_the_models_do_not_load_what_no_node_uses() -> None:
    assert loaded_after("import openfl.learning.matrix_factorization")[0] == set()


def test_scipy_alone_does() -> None:
    assert loaded_after("import scipy.sparse")[0] == set(WATCHED)


def test_a_postponed_module_works_in_every_form_of_import() -> None:
    uses = (
        "import openfl.learning.matrix_factorization\n"
        "import numpy as np\n"
        "print(np.ma.masked_less([1, 5], 3).sum())\n"
        "from numpy.testing import assert_array_equal\n"
        "assert_array_equal([1], [1])\n"
        "from numpy.polynomial import Polynomial\n"
        "print(Polynomial([1, 2])(3))\n"
        "import numpy.ctypeslib as ctypeslib\n"
        "print(ctypeslib.as_ctypes_type(np.int32).__name__)"
    )
    loaded, said = loaded_after(uses)
    assert loaded == {"numpy.ma.core", "numpy.testing._private.utils"}
    assert said.splitlines() == ["5", "7.0", "c_int"]
