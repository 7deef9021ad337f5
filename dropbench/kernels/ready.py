"""All kernels for the CPU, made ready at once."""

# Importing a module makes its kernels known.
from dropbench.kernels import batch, mask, philox, pool, relu, sgd  # noqa: F401
from dropbench.kernels.compiled import compile_kernels


def make_ready() -> None:
    """Compile all kernels, or load them from the cache: once, before workers would do so each for itself."""
    compile_kernels()
