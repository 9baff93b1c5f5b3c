"""Models and how they are trained on private data."""

from openfl.learning.lazy_imports import import_scipy_sparse

import_scipy_sparse()  # before any of the models does
