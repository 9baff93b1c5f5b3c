"""What of NumPy no node uses is not loaded with the models, and works for whoever uses it."""

from __future__ import annotations

import json
import subprocess
import sys

WATCHED = ("numpy.f2py", "numpy.polynomial", "numpy.testing")
SET_UP = "from openfl.learning.lazy_imports import import_scipy_sparse; import_scipy_sparse()"


def loaded_after(code: str) -> tuple[set[str], str]:
    """(watched modules that a fresh interpreter has loaded after `code`, what it printed)."""
    report = f"import json, sys; print(json.dumps([m for m in {WATCHED} if m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    *said, names = done.stdout.splitlines()
    return set(json.loads(names)), "\n".join(said)


def test_once_set_up_the_models_do_not_load_what_no_node_uses() -> None:
    assert loaded_after(f"{SET_UP}; import openfl.learning.kinds")[0] == set()


def test_importing_the_room_changes_nothing() -> None:
    """Neither `sys.modules` nor NumPy holds a stand-in when a module has been imported."""
    code = (
        "import sys, numpy\n"
        "from openfl.learning.lazy_imports import UNUSED\n"
        "import openfl.learning\n"
        "print('scipy' in sys.modules)\n"
        "import openfl.learning.kinds\n"
        "print([name for name in UNUSED if f'numpy.{name}' not in sys.modules])"
    )
    assert loaded_after(code)[1].splitlines() == ["False", "[]"]


def test_scipy_alone_does() -> None:
    assert loaded_after("import scipy.sparse")[0] == set(WATCHED)


def test_a_postponed_module_works_in_every_form_of_import() -> None:
    uses = (
        f"{SET_UP}\n"
        "import numpy as np\n"
        "print(np.ma.masked_less([1, 5], 3).sum())\n"
        "from numpy.testing import assert_array_equal\n"
        "assert_array_equal([1], [1])\n"
        "from numpy.polynomial import Polynomial\n"
        "print(Polynomial([1, 2])(3))\n"
        "import numpy.ctypeslib as ctypeslib\n"
        "print(ctypeslib.as_ctypes_type(np.int32).__name__)\n"
        "from scipy._lib.array_api_compat.numpy import testing\n"
        "testing.assert_array_equal([1], [1])"
    )
    loaded, said = loaded_after(uses)
    assert loaded == {"numpy.polynomial", "numpy.testing"}
    assert said.splitlines() == ["5", "7.0", "c_int"]


def test_modules_that_somebody_has_loaded_before_are_left_alone() -> None:
    code = (
        "import numpy.testing as before\n"
        f"{SET_UP}\n"
        "import numpy.testing as after\n"
        "print(before is after)"
    )
    assert loaded_after(code) == ({"numpy.testing"}, "True")


def test_many_threads_may_be_the_first_to_use_what_was_postponed() -> None:
    """A node trains and judges in threads. `LazyLoader` of Python 3.11 gave all but one of them a
    module that was not loaded yet."""
    code = (
        "import sys, threading\n"
        f"{SET_UP}\n"
        "import numpy as np\n"
        "sys.setswitchinterval(1e-6)\n"
        "start, values = threading.Barrier(8), []\n"
        "def use():\n"
        "    start.wait()\n"
        "    np.unique(np.arange(3))\n"
        "    np.testing.assert_array_equal([1], [1])\n"
        "    values.append(np.polynomial.Polynomial([1, 2])(3))\n"
        "threads = [threading.Thread(target=use) for _ in range(8)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print([float(value) for value in values] == [7.0] * 8)"
    )
    assert loaded_after(code)[1] == "True"
