"""Models and how they are trained on private data."""

from openfl.learning._unused_later import import_scipy_sparse

import_scipy_sparse()  # before any of the models does
